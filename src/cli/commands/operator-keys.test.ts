// The commands about keys against a scripted server: what they send, what they print.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type CliSetting, cli } from "#test/run-cli.ts";
import { enveloped, refused, type Script, type ScriptedApi, startScriptedApi } from "#test/scripted-api.ts";

let api: ScriptedApi;
beforeAll(async () => {
  api = await startScriptedApi(() => refused(404));
});
afterAll(() => api[Symbol.asyncDispose]());

async function against(script: Script, setting: CliSetting, ...argv: string[]) {
  api.script = script;
  api.seen.length = 0;
  const result = await cli({ address: api.address, ...setting }, "operator", ...argv);
  return { ...result, calls: api.seen.map(({ method, path, body }) => [method, path, body]) };
}
const bare =
  (body: JsonObject): Script =>
  () => ({ status: 200, body });

const status = { nonce: "n1", started: true, t: 3, n: 5, progress: 1, required: 2, verification_required: false };

describe("operator rekey", () => {
  it("begins with Vault's defaults, for the recovery key too", async () => {
    const begun = await against(bare(status), {}, "rekey", "-init");
    const body = { secret_shares: 5, secret_threshold: 3, require_verification: false };
    expect(begun.calls).toEqual([["PUT", "sys/rekey/init", body]]);
    expect(begun.stdout).toMatch(/Nonce +n1\n/);
    expect(begun.stdout).toMatch(/Progress +1\/2\n/);
    const recovery = await against(bare(status), {}, "rekey", "-init", "-verify", "-target=recovery", "-key-shares=1");
    expect(recovery.calls[0]?.[1]).toBe("sys/rekey-recovery-key/init");
    expect(recovery.calls[0]?.[2]).toMatchObject({ secret_shares: 1, require_verification: true });
    expect((await against(bare(status), {}, "rekey", "-init", "-target=moon")).code).toBe(1);
  });

  it("gives a share that was typed, with the nonce of the server", async () => {
    const done = { nonce: "n1", complete: true, keys: ["00"], keys_base64: ["AA=="], verification_required: false };
    const script: Script = ({ method }) => ({ status: 200, body: method === "GET" ? status : done });
    const result = await against(script, { typed: " share \n" }, "rekey");
    expect(result.calls).toEqual([
      ["GET", "sys/rekey/init", undefined],
      ["PUT", "sys/rekey/update", { key: "share", nonce: "n1" }],
    ]);
    expect(result.stdout).toContain("Key 1: AA==\n");
    expect((await against(bare(done), {}, "rekey", "-nonce=n2", "k")).calls).toEqual([
      ["PUT", "sys/rekey/update", { key: "k", nonce: "n2" }],
    ]);
    expect((await against(bare({ started: false, nonce: "" }), {}, "rekey", "k")).stderr).toContain("-init");
  });

  it("sends the PGP keys of files, and shows, deletes and names encrypted shares", async () => {
    const home = await mkdtemp(join(tmpdir(), "coffer-cli-"));
    try {
      await writeFile(join(home, "ann.gpg"), Buffer.from([0x99, 0x01]));
      await writeFile(join(home, "ben.asc"), "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n");
      const run = (script: Script, ...argv: string[]) => against(script, { home }, ...argv);
      const begun = await run(bare(status), "rekey", "-init", "-pgp-keys=ann.gpg,@ben.asc", "-backup");
      expect(begun.calls[0]?.[2]).toMatchObject({
        pgp_keys: ["mQE=", "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx"],
        backup: true,
      });
      expect((await run(bare(status), "rekey", "-init", "-pgp-keys=none")).stderr).toContain("cannot be read");
      expect((await run(bare(status), "rekey", "-init", "-pgp-keys=keybase:ann")).stderr).toContain("export the key");
      const token = await run(bare(status), "generate-root", "-init", "-pgp-key=ann.gpg");
      expect(token.calls).toEqual([["PUT", "sys/generate-root/attempt", { pgp_key: "mQE=" }]]);
      const init = await run(
        bare({ type: "shamir" }),
        "init",
        "-key-shares=1",
        "-key-threshold=1",
        "-pgp-keys=ann.gpg",
      );
      expect(init.calls[1]?.[2]).toMatchObject({ secret_shares: 1, pgp_keys: ["mQE="] });
    } finally {
      await rm(home, { recursive: true });
    }
    const done = { complete: true, keys_base64: ["AA=="], pgp_fingerprints: ["f00"], verification_required: false };
    expect((await against(bare(done), {}, "rekey", "-nonce=n", "k")).stdout).toContain(
      "Key 1 fingerprint: f00; value: AA==",
    );
    const kept = await against(
      () => enveloped({ nonce: "n", keys_base64: { f00: ["AA=="] } }),
      {},
      "rekey",
      "-backup-retrieve",
    );
    expect(kept.stdout).toMatch(/f00 +.*AA==/);
    const deleted = await against(() => ({ status: 204 }), {}, "rekey", "-target=recovery", "-backup-delete");
    expect(deleted.calls).toEqual([["DELETE", "sys/rekey/recovery-key-backup", undefined]]);
  });

  it("verifies, shows and cancels", async () => {
    const waiting = { complete: true, keys_base64: ["AA=="], verification_required: true, verification_nonce: "v1" };
    expect((await against(bare(waiting), {}, "rekey", "-nonce=n", "k")).stdout).toContain("rekey -verify");
    const verify = await against(bare({ ...status, nonce: "v1" }), {}, "rekey", "-verify", "k");
    expect(verify.calls).toEqual([
      ["GET", "sys/rekey/verify", undefined],
      ["PUT", "sys/rekey/verify", { key: "k", nonce: "v1" }],
    ]);
    expect((await against(bare(status), {}, "rekey", "-status")).calls).toEqual([["GET", "sys/rekey/init", undefined]]);
    const cancel = await against(() => ({ status: 204 }), {}, "rekey", "-cancel");
    expect(cancel.calls).toEqual([["DELETE", "sys/rekey/init", undefined]]);
  });
});

describe("operator generate-root", () => {
  it("begins, gives shares, and decodes the token without a server", async () => {
    const begun = await against(bare({ ...status, otp: "pad", otp_length: 3 }), {}, "generate-root", "-init");
    expect(begun.calls).toEqual([["PUT", "sys/generate-root/attempt", {}]]);
    expect(begun.stdout).toMatch(/OTP +pad\n/);
    const given = await against(bare({ ...status, complete: true, encoded_token: "AAA" }), {}, "generate-root", "k");
    expect(given.calls[1]).toEqual(["PUT", "sys/generate-root/update", { key: "k", nonce: "n1" }]);
    expect(given.stdout).toMatch(/Encoded Token +AAA\n/);
    const encoded = Buffer.from([..."hvs"].map((c, i) => c.charCodeAt(0) ^ "pad".charCodeAt(i))).toString("base64");
    const decoded = await against(() => refused(500), {}, "generate-root", `-decode=${encoded}`, "-otp=pad");
    expect(decoded).toMatchObject({ stdout: "hvs\n", calls: [] });
    expect((await against(() => refused(500), {}, "generate-root", "-decode=AAAA", "-otp=x")).code).toBe(1);
    const recovery = await against(bare({ ...status, complete: true }), {}, "generate-root", "-recovery-token", "k");
    expect(recovery.calls.map(([, path]) => path)).toEqual([
      "sys/generate-recovery-token/attempt",
      "sys/generate-recovery-token/update",
    ]);
    const cancel = await against(() => ({ status: 204 }), {}, "generate-root", "-cancel");
    expect(cancel.calls).toEqual([["DELETE", "sys/generate-root/attempt", undefined]]);
  });
});

describe("operator rotate and key-status", () => {
  it("rotate, then show the key", async () => {
    const script: Script = ({ method }) =>
      method === "GET" ? enveloped({ term: 2, install_time: "2026-01-01T00:00:00Z", encryptions: 7 }) : { status: 204 };
    const result = await against(script, {}, "rotate");
    expect(result.calls.map(([method, path]) => [method, path])).toEqual([
      ["PUT", "sys/rotate"],
      ["GET", "sys/key-status"],
    ]);
    expect(result.stdout).toMatch(/Key Term +2\n/);
    expect((await against(script, {}, "key-status")).stdout).toMatch(/Encryption Count +7\n/);
  });
});
