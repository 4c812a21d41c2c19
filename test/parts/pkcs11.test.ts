// The pkcs11 seal over real PKCS #11 libraries: SoftHSM2, and SoftHSM2 with the manners of AWS CloudHSM.
import { execFileSync } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { findSealType } from "#server/seal/registry.ts";
import type { AutoSeal, WrappedKey } from "#server/seal/seal.ts";
import { SealError } from "#server/seal/seal.ts";
import { missingForSoftHsm, type SoftHsm, startSoftHsm } from "#test/kit/hsm/softhsm.ts";

const PIN = "crypto-user:swordfish-1";
const missing = await missingForSoftHsm();

describe.skipIf(missing !== undefined && !process.env["CI"])("the pkcs11 seal", () => {
  let hsm: SoftHsm;
  const opened: AutoSeal[] = [];
  let tokens = 0;
  beforeAll(async () => {
    if (missing !== undefined) throw new Error(missing);
    hsm = await startSoftHsm();
  });
  afterEach(() => Promise.all(opened.splice(0).map((seal) => seal.close())));
  afterAll(() => hsm?.[Symbol.asyncDispose]());

  async function newToken(): Promise<string> {
    const label = `token-${++tokens}`;
    await hsm.createToken(label, PIN);
    return label;
  }
  async function seal(config: JsonObject): Promise<AutoSeal> {
    const stanza = { lib: hsm.library, pin: PIN, key_label: "root", generate_key: true, ...config };
    const made = await findSealType("pkcs11").parse(stanza, {
      clusterName: "test",
      clock: systemClock,
      environment: () => undefined,
      readFile: async (path) => Buffer.from(execFileSync("cat", [path])),
    });
    if (made.kind !== "auto") throw new Error("pkcs11 is an automatic seal");
    opened.push(made);
    return made;
  }
  async function faultOf(work: Promise<unknown>): Promise<{ fault: string; message: string; transient: boolean }> {
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof SealError)) throw new Error(`expected a SealError, got ${String(error)}`);
    return { fault: error.fault, message: error.message, transient: error.transient };
  }
  const altered = (wrapped: WrappedKey): WrappedKey => {
    const bytes = Buffer.from(wrapped.ciphertext, "base64");
    bytes.writeUInt8((bytes.at(-1) ?? 0) ^ 1, bytes.length - 1);
    return { ...wrapped, ciphertext: bytes.toString("base64") };
  };

  it.each([
    ["SoftHSM", "aes-gcm", {}],
    ["SoftHSM", "aes-cbc-hmac", { mechanism: "aes-cbc-hmac" }],
    ["SoftHSM", "aes-key-wrap", { mechanism: "aes-key-wrap" }],
    ["CloudHSM", "cloudhsm-gcm", { cloud: true }],
    ["CloudHSM", "aes-gcm whose IV the HSM makes", { cloud: true, mechanism: "aes-gcm" }],
    ["CloudHSM", "aes-cbc-hmac", { cloud: true, mechanism: "aes-cbc-hmac" }],
  ])(
    "%s, %s: wraps, and opens only the same bytes for the same purpose",
    async (_hsm, _scheme, { cloud, ...how }: JsonObject) => {
      const settings = { ...how, token_label: await newToken(), ...(cloud && { lib: hsm.cloudHsmLibrary }) };
      const first = await seal(settings);
      using key = SecretBytes.random(32);
      const [wrapped, again] = [await first.wrap(key, "root-key"), await first.wrap(key, "root-key")];
      expect(wrapped.keyId).toMatch(/^root#[0-9a-f]{16}$/);
      if (how["mechanism"] !== "aes-key-wrap") expect(wrapped.ciphertext).not.toBe(again.ciphertext);
      const other = await seal(settings);
      using opened = await other.unwrap(wrapped, "root-key");
      expect(opened.equals(key)).toBe(true);
      const refused = { fault: "InvalidCiphertext", transient: false };
      expect(await faultOf(other.unwrap(wrapped, "recovery-key"))).toMatchObject(refused);
      expect(await faultOf(other.unwrap(altered(wrapped), "root-key"))).toMatchObject(refused);
      expect((await other.probe()).keyId).toBe(wrapped.keyId);
    },
  );

  it("keeps the key inside: the token does not give its value", async () => {
    const token = await newToken();
    await (await seal({ token_label: token })).probe();
    const { PKCS11 } = await import("pkcs11js");
    const module = new PKCS11();
    module.load(hsm.library);
    module.C_Initialize();
    const slot = module.C_GetSlotList(true).find((each) => module.C_GetTokenInfo(each).label.trim() === token);
    const session = module.C_OpenSession(slot ?? Buffer.alloc(8), 6);
    module.C_Login(session, 1, PIN);
    module.C_FindObjectsInit(session, [{ type: 3, value: "root" }]);
    const [handle] = module.C_FindObjects(session, 1);
    module.C_FindObjectsFinal(session);
    expect(() => module.C_GetAttributeValue(session, handle ?? Buffer.alloc(8), [{ type: 0x11 }])).toThrow(/SENSITIVE/);
    module.C_Finalize();
  });

  it("runs many operations at once, and does not stop the server meanwhile", async () => {
    const made = await seal({ token_label: await newToken() });
    const keys = Array.from({ length: 40 }, () => SecretBytes.random(32));
    const wrapped = await Promise.all(keys.map((key) => made.wrap(key, "x")));
    const again = await Promise.all(wrapped.map((each) => made.unwrap(each, "x")));
    expect(again.every((key, i) => keys[i]?.equals(key))).toBe(true);
  });

  it("tells what is wrong", async () => {
    const token = await newToken();
    const fault = async (config: JsonObject) => faultOf((await seal({ token_label: token, ...config })).probe());
    expect(await fault({ lib: "/nowhere/lib.so" })).toMatchObject({ fault: "Misconfigured", transient: false });
    expect((await fault({ lib: "/nowhere/lib.so" })).message).toContain("/nowhere/lib.so cannot be loaded");
    const noToken = await fault({ token_label: "absent" });
    expect(noToken.fault).toBe("Misconfigured");
    expect(noToken.message).toContain(`"${token}"`);
    expect((await fault({ slot: 4711, token_label: "absent" })).fault).toBe("Misconfigured");
    const noKey = await fault({ generate_key: false });
    expect(noKey).toMatchObject({ fault: "KeyNotFound", transient: false });
    expect(noKey.message).toContain("with the label root");
    expect((await fault({ mechanism: "cloudhsm-gcm" })).message).toContain("the token offers only");
  });

  it("does not try a wrong PIN twice, and takes a new one without a restart", async () => {
    const token = await newToken();
    const file = join(hsm.folder, "pin");
    await writeFile(file, "wrong-pin\n");
    const made = await seal({ token_label: token, pin: null, pin_file: file });
    const first = await faultOf(made.probe());
    expect(first).toMatchObject({ fault: "CredentialsInvalid", transient: false });
    expect(first.message).not.toContain("wrong-pin");
    for (let n = 0; n < 20; n++) expect((await faultOf(made.probe())).fault).toBe("CredentialsInvalid");
    await writeFile(file, `${PIN}\n`);
    expect((await made.probe()).keyId).toMatch(/^root#/);
  });

  it("says when there is no session left, and goes on when there is", async () => {
    const file = join(hsm.folder, "refuse");
    process.env["SHIM_REFUSE_SESSIONS"] = file;
    const made = await seal({ token_label: await newToken(), lib: hsm.cloudHsmLibrary });
    await writeFile(file, "");
    expect(await faultOf(made.probe())).toMatchObject({ fault: "Throttled", transient: true });
    await rm(file);
    await expect(made.probe()).resolves.toBeDefined();
  });

  it("ends a process whose library hangs, and starts another", async () => {
    const file = join(hsm.folder, "hang");
    process.env["SHIM_HANG"] = file;
    const made = await seal({ token_label: await newToken(), lib: hsm.cloudHsmLibrary, timeout: "3s" });
    await made.probe();
    await writeFile(file, "");
    expect(await faultOf(made.probe())).toMatchObject({ fault: "Unreachable", transient: true });
    await rm(file);
    await expect(made.probe()).resolves.toBeDefined();
  });

  it("opens with an old key what the old key wrapped, after a new one took its place", async () => {
    const token = await newToken();
    using key = SecretBytes.random(32);
    const wrapped = await (await seal({ token_label: token, key_label: "first" })).wrap(key, "x");
    const next = await seal({ token_label: token, key_label: "second" });
    expect((await next.wrap(key, "x")).keyId).toMatch(/^second#/);
    using again = await next.unwrap(wrapped, "x");
    expect(again.equals(key)).toBe(true);
    await hsm.deleteToken(token);
    await hsm.createToken(token, PIN);
    const gone = await faultOf((await seal({ token_label: token, key_label: "first" })).unwrap(wrapped, "x"));
    expect(gone).toMatchObject({ fault: "KeyNotFound", transient: false });
    expect(gone.message).toContain("restore the HSM");
  });

  it("wraps as the standards say: another program with the same key opens it, and the HSM what that wraps", async () => {
    // RFC 5649, section 6: the other program is right.
    const kek = Buffer.from("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "hex");
    const padWrap = (key: Buffer, bytes: Buffer) => {
      const cipher = createCipheriv(`id-aes${key.length * 8}-wrap-pad`, key, Buffer.from("a65959a6", "hex"));
      return Buffer.concat([cipher.update(bytes), cipher.final()]);
    };
    expect(padWrap(kek, Buffer.from("c37b7e6492584340bed12207808941155068f738", "hex")).toString("hex")).toBe(
      "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
    );
    expect(padWrap(kek, Buffer.from("466f7250617369", "hex")).toString("hex")).toBe("afbeb0f07dfbf5419200f2ccb50bb24f");
    // NIST SP 800-38F allows any AES key; this one is known to both sides.
    const token = await newToken();
    const known = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
    await importKey(token, "root", known);
    using key = SecretBytes.random(32);
    const binding = Buffer.from("coffer/test/root-key");
    const value = Buffer.concat([createHash("sha256").update(binding).digest(), key.expose()]);
    const wrapper = await seal({ token_label: token, mechanism: "aes-key-wrap" });
    const wrapped = await wrapper.wrap(key, "root-key");
    expect(Buffer.from(wrapped.ciphertext, "base64").subarray(2).equals(padWrap(known, value))).toBe(true);
    using opened = await wrapper.unwrap(wrapped, "root-key");
    expect(opened.equals(key)).toBe(true);
    // AES-GCM: version, scheme, IV, ciphertext, tag.
    const iv = Buffer.alloc(12, 7);
    const cipher = createCipheriv("aes-256-gcm", known, iv).setAAD(binding);
    const made = Buffer.concat([Buffer.of(1, 1), iv, cipher.update(key.expose()), cipher.final(), cipher.getAuthTag()]);
    using again = await wrapper.unwrap({ ...wrapped, ciphertext: made.toString("base64") }, "root-key");
    expect(again.equals(key)).toBe(true);
  });

  /** Puts an AES key of known value into a token: pkcs11t.h has the numbers. */
  async function importKey(token: string, label: string, value: Buffer): Promise<void> {
    const { PKCS11 } = await import("pkcs11js");
    const module = new PKCS11();
    module.load(hsm.library);
    module.C_Initialize();
    const slot = module.C_GetSlotList(true).find((each) => module.C_GetTokenInfo(each).label.trim() === token);
    const session = module.C_OpenSession(slot ?? Buffer.alloc(8), 6);
    module.C_Login(session, 1, PIN);
    const yes = [0x1, 0x2, 0x103, 0x104, 0x105, 0x106, 0x107].map((type) => ({ type, value: true }));
    module.C_CreateObject(session, [
      { type: 0x0, value: 4 },
      { type: 0x100, value: 0x1f },
      { type: 0x3, value: label },
      { type: 0x102, value: Buffer.of(1) },
      { type: 0x11, value },
      ...yes,
    ]);
    module.C_Finalize();
  }
});
