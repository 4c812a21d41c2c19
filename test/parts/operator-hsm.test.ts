// `coffer operator hsm`: over a real PKCS #11 library with the manners of CloudHSM, and the strict stand-in for AWS.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isJsonObject, parseJson } from "#common/json.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { missingForSoftHsm, type SoftHsm, startSoftHsm } from "#test/kit/hsm/softhsm.ts";
import { cli } from "#test/run-cli.ts";

const PIN = "crypto-user:swordfish-1";
/** The deadline of one call to AWS (control-plane.ts), which must not end at once. */
const AWS_CALL_MILLIS = 10_000;
const missing = await missingForSoftHsm();
let home: string;
let aws: AwsResponder;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "coffer-hsm-cli-"));
  aws = await startAwsResponder();
});
afterAll(async () => {
  await aws.close();
  await rm(home, { recursive: true });
});

const run = (...argv: string[]) => {
  const [command = "", ...more] = argv;
  const clock = new HastyClock(AWS_CALL_MILLIS);
  // What the stand-in checks is the real time of signatures, which the SDK takes from the system.
  return cli({ home, clock }, "operator", "hsm", command, "-config=server.hcl", ...more);
};

/** A configuration; `more` are further members of the seal's stanza. */
async function configure(library: string, token: string, more = ""): Promise<void> {
  const seal = `seal "pkcs11" {
  lib = "${library}"
  token_label = "${token}"
  pin_file = "pin"
  key_label = "coffer-root"
  timeout = "60s"
  ${more}
}`;
  await writeFile(join(home, "pin"), `${PIN}\n`);
  await writeFile(
    join(home, "server.hcl"),
    `storage "inmem" {}\nlistener "tcp" {\n  address = "127.0.0.1:0"\n  tls_disable = true\n}\n${seal}\n`,
  );
}

const clusterBlock = (id: string) => `cloudhsm {
    cluster_id = "${id}"
    region = "${aws.region}"
    endpoint = "${aws.endpoint}"
    access_key = "${aws.credentials.accessKeyId}"
    secret_key = "${aws.credentials.secretAccessKey}"
  }`;

describe.skipIf(missing !== undefined && !process.env["CI"])("at the token", () => {
  let hsm: SoftHsm;
  let tokens = 0;
  beforeAll(async () => {
    if (missing !== undefined) throw new Error(missing);
    hsm = await startSoftHsm();
  });
  afterAll(() => hsm?.[Symbol.asyncDispose]());
  async function newToken(): Promise<string> {
    const label = `cli-${++tokens}`;
    await hsm.createToken(label, PIN);
    return label;
  }

  it("makes the key once, inside, and shows it", async () => {
    await configure(hsm.cloudHsmLibrary, await newToken());
    const before = await run("status");
    expect(before).toMatchObject({ code: 1, stderr: "" });
    expect(before.stdout).toMatch(/scheme +cloudhsm-gcm[\s\S]*key_id +\(there is no such key\)/);
    const made = await run("create-key", "-format=json");
    expect(made).toMatchObject({ code: 0, stderr: "" });
    const key = parseJson(made.stdout);
    expect(key).toMatchObject({
      ...{ seal: "pkcs11", key_label: "coffer-root" },
      key_id: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    const again = await run("create-key");
    expect(again.code).toBe(1);
    const id = isJsonObject(key) ? String(key["key_id"]) : "";
    expect(again.stderr).toContain(`the token already has the key coffer-root#${id}; nothing was made`);
    const after = await run("status");
    expect(after.code).toBe(0);
    expect(after.stdout).toContain(id);
    for (const { stdout, stderr } of [before, made, again, after]) expect(stdout + stderr).not.toContain("swordfish");
  });

  it("makes the second key where the scheme needs it", async () => {
    await configure(hsm.library, await newToken(), 'mechanism = "aes-cbc-hmac"');
    expect((await run("create-key")).stdout).toMatch(/hmac_key_label +coffer-root-hmac[\s\S]*hmac_key +true/);
  });

  it("shows the cluster behind the token, and goes on when it cannot be looked at", async () => {
    const { id } = aws.hsm.addCluster(["eu-central-1a"]);
    await configure(hsm.cloudHsmLibrary, await newToken(), `generate_key = true\n  ${clusterBlock(id)}`);
    await run("create-key");
    const shown = await run("status");
    expect(shown.stdout).toContain(`${id} ACTIVE`);
    expect(shown.stdout).toContain("has one active HSM only: add one in a second zone");
    expect(shown.stdout).toContain("there is no usable backup");
    aws.faults.down = true;
    const without = await run("status");
    aws.faults.down = false;
    expect(without).toMatchObject({ code: 0, stdout: expect.stringContaining("The cluster cannot be looked at") });
  });

  it("says what is wrong: no configuration, no such seal, a wrong PIN", async () => {
    const token = await newToken();
    await configure(hsm.cloudHsmLibrary, token);
    const bare = await cli({ home }, "operator", "hsm", "status");
    expect(bare).toMatchObject({ code: 1, stderr: expect.stringContaining("give -config=FILE") });
    const other = await run("status", "-seal=other");
    expect(other.stderr).toContain("there is no seal other of an HSM: give -seal as one of pkcs11");
    await writeFile(join(home, "pin"), "wrong-pin-1234\n");
    const wrong = await run("status");
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("the PIN is wrong") });
    expect(wrong.stderr).not.toContain("wrong-pin-1234");
    expect((await run("backups")).stderr).toContain("the seal's stanza names no cluster");
  });
});

describe("the cluster", () => {
  let clusterId: string;
  beforeEach(async () => {
    clusterId = aws.hsm.addCluster(["eu-central-1a", "eu-central-1b"]).id;
    for (const [zone, subnet] of Object.entries(aws.hsm.cluster(clusterId).subnets)) aws.hsm.subnets.set(subnet, zone);
    await configure("/not/looked/at.so", "none", clusterBlock(clusterId));
  });

  it("lists its backups", async () => {
    expect(await run("backups")).toMatchObject({ code: 0, stdout: "There is no backup.\n" });
    const [old, fresh] = [aws.hsm.addBackup(clusterId, { created: 1e12 }), aws.hsm.addBackup(clusterId)];
    const foreign = aws.hsm.addBackup("cluster-foreign0000");
    const { stdout } = await run("backups");
    expect(stdout.indexOf(fresh.id)).toBeLessThan(stdout.indexOf(old.id));
    expect(stdout).toContain("2001-09-09T01:46:40.000Z");
    expect(stdout).not.toContain(foreign.id);
    expect((await run("backups", "-all")).stdout).toContain(foreign.id);
  });

  it("plans, and does nothing without -yes", async () => {
    const backup = aws.hsm.addBackup(clusterId);
    const before = aws.hsm.clusters.size;
    const planned = await run("restore");
    expect(planned).toMatchObject({ code: 0, stderr: "" });
    expect(planned.stdout).toContain(backup.id);
    expect(planned.stdout).toMatch(/subnet-00000000, subnet-00000001[\s\S]*2 of type hsm1.medium[\s\S]*90 days/);
    expect(planned.stdout).toContain("Nothing was done; give -yes to do it.");
    expect(aws.hsm.clusters.size).toBe(before);
  });

  it("makes a cluster with its HSMs from the backup, and goes on with one that was begun", async () => {
    const backup = aws.hsm.addBackup(clusterId);
    const done = await run("restore", "-yes");
    expect(done.code).toBe(0);
    const made = [...aws.hsm.clusters.values()].find(({ sourceBackupId }) => sourceBackupId === backup.id);
    expect(made).toMatchObject({ state: "ACTIVE", hsms: [{ zone: "eu-central-1a" }, { zone: "eu-central-1b" }] });
    expect(done.stderr).toMatch(
      /asked for the cluster \S+ from[\s\S]*CREATE_IN_PROGRESS[\s\S]*ACTIVE[\s\S]*asked for an HSM in eu-central-1a[\s\S]*asked for an HSM in eu-central-1b/,
    );
    expect(done.stdout).toContain(`${made?.id} ACTIVE`);
    expect(done.stdout).toContain("Next: put the new cluster's id into the seal's cloudhsm block");
    made?.hsms.pop();
    const count = aws.hsm.clusters.size;
    const again = await run("restore", "-yes");
    expect(again.stderr).toContain(`${made?.id}, made from this backup before`);
    expect(aws.hsm.clusters.size).toBe(count);
    expect(made?.hsms).toHaveLength(2);
  });

  it("says what is missing", async () => {
    expect((await run("restore")).stderr).toContain("there is no backup of the cluster");
    aws.hsm.addBackup(clusterId);
    expect((await run("restore", "-hsms=3")).stderr).toContain("3 HSMs want as many subnets");
    expect((await run("restore", "-hsms=11")).stderr).toContain("-hsms must be 0 to 10");
    aws.hsm.clusters.delete(clusterId);
    expect((await run("restore")).stderr).toContain("the old cluster is gone, so give -subnets");
    const planned = await run("restore", "-subnets=subnet-00000000,subnet-00000001");
    expect(planned.stderr).toContain("so give -hsm-type");
    aws.setPolicy(aws.credentials.accessKeyId, [{ effect: "Allow", actions: ["cloudhsm:Describe*"] }]);
    const denied = await run("restore", "-subnets=subnet-00000000", "-hsms=1", "-hsm-type=hsm1.medium", "-yes");
    aws.setPolicy(aws.credentials.accessKeyId, [{ effect: "Allow", actions: ["*"] }]);
    expect(denied).toMatchObject({ code: 1, stderr: expect.stringContaining("AWS denies it") });
  });
});
