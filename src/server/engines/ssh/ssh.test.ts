import { describe, expect, it } from "vitest";
import { silentLog } from "#common/log.ts";
import { createHarness, type Harness } from "../../framework/harness.ts";
import { otpLease } from "./otp-paths.ts";
import { ZERO_ADDRESS_ROLES_MAX } from "./roles.ts";
import { sshType } from "./ssh.ts";

const invalid = (message: string) => ({ code: "invalid_request", message });
const NOT_FOUND = invalid("OTP not found");
const OUTSIDE = invalid("Error validating IP: IP does not belong to role");

async function open(): Promise<Harness> {
  const ssh = await createHarness(sshType, { mount: { defaultTtlSeconds: 1200 } });
  await ssh.call("update", "roles/otp", {
    key_type: "otp",
    default_user: "ubuntu",
    allowed_users: "deploy, ops",
    cidr_list: "10.0.0.0/8",
    exclude_cidr_list: "10.9.0.0/16",
  });
  return ssh;
}

async function password(ssh: Harness, data = {}): Promise<string> {
  const reply = await ssh.call("update", "creds/otp", { ip: "10.1.2.3", ...data });
  return String(reply?.data?.["key"]);
}

describe("ssh: roles", () => {
  it("are read back as they were written, with the default port", async () => {
    const ssh = await open();
    expect((await ssh.call("read", "roles/otp"))?.data).toEqual({
      allowed_users: "deploy, ops",
      cidr_list: "10.0.0.0/8",
      default_user: "ubuntu",
      exclude_cidr_list: "10.9.0.0/16",
      key_type: "otp",
      port: 22,
    });
    expect((await ssh.call("list", "roles/"))?.data).toEqual({ keys: ["otp"], key_info: { otp: { key_type: "otp" } } });
  });

  it.each([
    [{ default_user: "x" }, "missing key type"],
    [{ key_type: "magic" }, "invalid key type"],
    [
      { key_type: "ca", allow_user_certificates: true },
      "key type ca is not supported: this engine issues one-time passwords only; use key type otp",
    ],
    [{ key_type: "otp" }, "missing default user"],
    [{ key_type: "otp", default_user: "u", port: 0 }, "port must be from 1 to 65535"],
    [{ key_type: "otp", default_user: "u", port: 65_536 }, "port must be from 1 to 65535"],
    [
      { key_type: "otp", default_user: "u", cidr_list: "10.0.0.0/33" },
      'cidr_list: "10.0.0.0/33" is not a CIDR block such as 10.0.0.0/8',
    ],
  ])("refuse %j", async (data, message) => {
    const ssh = await open();
    await expect(ssh.call("update", "roles/bad", data)).rejects.toMatchObject(invalid(message));
    expect(await ssh.call("read", "roles/bad")).toBeUndefined();
  });
});

describe("ssh: one-time passwords", () => {
  it("are good once, for their user and host, without a lease to renew", async () => {
    const ssh = await open();
    const reply = await ssh.call("update", "creds/otp", { ip: "10.1.2.3", username: "ops" });
    expect(reply?.data).toMatchObject({ ip: "10.1.2.3", key_type: "otp", port: 22, username: "ops" });
    expect(reply?.lease).toMatchObject({ kind: "otp", ttlSeconds: 1200, renewable: false });
    const otp = String(reply?.data?.["key"]);
    expect((await ssh.call("update", "verify", { otp }))?.data).toEqual({
      ip: "10.1.2.3",
      role_name: "otp",
      username: "ops",
    });
    await expect(ssh.call("update", "verify", { otp })).rejects.toMatchObject(NOT_FOUND);
  });

  it("are not in the storage, nor is anything written by who asks with a wrong one", async () => {
    const ssh = await open();
    const before = (await ssh.dump()).size;
    await expect(ssh.call("update", "verify", { otp: "nothing" })).rejects.toMatchObject(NOT_FOUND);
    await expect(ssh.call("update", "verify", { otp: "x".repeat(257) })).rejects.toMatchObject(NOT_FOUND);
    await expect(ssh.call("update", "verify", {})).rejects.toMatchObject(NOT_FOUND);
    expect((await ssh.dump()).size).toBe(before);
    const otp = await password(ssh);
    expect(JSON.stringify([...(await ssh.dump())])).not.toContain(otp);
  });

  it("end with their time, even before their lease is swept", async () => {
    const ssh = await open();
    const otp = await password(ssh);
    await ssh.clock.advance(1_200_000);
    await expect(ssh.call("update", "verify", { otp })).rejects.toMatchObject(NOT_FOUND);
  });

  it("have a lease whose end deletes their record and nothing else, also a second time", async () => {
    const ssh = await open();
    const deleted: string[] = [];
    const reply = await ssh.call("update", "creds/otp", { ip: "10.1.2.3" });
    const handle = String(reply?.lease?.internal["otp"]);
    const storage = { delete: (key: string) => void deleted.push(key) };
    const unused = () => Promise.reject(new Error("revoking reads nothing"));
    const view = { ...storage, get: unused, prefetch: unused, list: unused, read: unused, put: unused, write: unused };
    const mount = {
      path: "ssh/",
      type: "ssh",
      accessor: "",
      uuid: "",
      options: {},
      defaultTtlSeconds: 1,
      maxTtlSeconds: 1,
    };
    const context = { storage: view, clock: ssh.clock, log: silentLog, mount };
    await otpLease.revoke(context, { otp: handle });
    await otpLease.revoke(context, { otp: handle });
    expect(new Set(deleted)).toEqual(new Set([`otp/${handle}`]));
  });

  it.each([
    [{ ip: "10.1.2.3", username: "root" }, invalid("Username is not present is allowed users list")],
    [{ ip: "192.168.1.1" }, OUTSIDE],
    [{ ip: "10.9.1.1" }, OUTSIDE],
    [{}, invalid("Missing ip")],
    [{ ip: "ten" }, invalid('Invalid IP "ten"')],
  ])("are refused for %j", async (data, error) => {
    const ssh = await open();
    await expect(ssh.call("update", "creds/otp", data)).rejects.toMatchObject(error);
  });

  it("answers the echo of a host's helper", async () => {
    const ssh = await open();
    expect((await ssh.call("update", "verify", { otp: "verify-echo-request" }))?.data).toEqual({
      message: "verify-echo-response",
    });
  });
});

describe("ssh: addresses", () => {
  it("finds roles by address", async () => {
    const ssh = await open();
    expect((await ssh.call("update", "lookup", { ip: "10.1.2.3" }))?.data).toEqual({ roles: ["otp"] });
    expect((await ssh.call("update", "lookup", { ip: "192.168.1.1" }))?.data).toEqual({ roles: [] });
    await expect(ssh.call("update", "lookup", {})).rejects.toMatchObject(invalid("Missing ip"));
  });

  it("lets zero-address roles serve every host, until they are deleted", async () => {
    const ssh = await open();
    await ssh.call("update", "config/zeroaddress", { roles: "otp" });
    expect((await ssh.call("read", "config/zeroaddress"))?.data).toEqual({ roles: ["otp"] });
    expect(await password(ssh, { ip: "192.168.1.1" })).toHaveLength(36);
    expect((await ssh.call("update", "lookup", { ip: "192.168.1.1" }))?.data).toEqual({ roles: ["otp"] });
    const role = (await ssh.call("read", "roles/otp"))?.data ?? {};
    await ssh.call("delete", "roles/otp");
    await ssh.call("update", "roles/otp", role);
    await expect(password(ssh, { ip: "192.168.1.1" })).rejects.toMatchObject(OUTSIDE);
    expect(await ssh.call("read", "config/zeroaddress")).toBeUndefined();
  });

  it("refuses zero-address roles that do not exist and too many of them", async () => {
    const ssh = await open();
    await expect(ssh.call("update", "config/zeroaddress", { roles: "otp,none" })).rejects.toMatchObject(
      invalid('role "none" does not exist'),
    );
    const many = Array.from({ length: ZERO_ADDRESS_ROLES_MAX + 1 }, (_, i) => `r${i}`);
    await expect(ssh.call("update", "config/zeroaddress", { roles: many })).rejects.toMatchObject(
      invalid(`roles has more than ${ZERO_ADDRESS_ROLES_MAX} names`),
    );
  });
});
