// Keys that leave the server encrypted to the people they are for: at initialisation, rekey and root generation.
import { decrypt, generateKey, readMessage } from "openpgp";
import { beforeAll, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { createStaticSeal } from "../seal/static/static-seal.ts";

/** As at a listener that takes shares without a token. */
const OPEN = ["rekey", "generate-root"] as const;

type Person = Awaited<ReturnType<typeof newPerson>>;
/** As old as the test's clock. */
const date = new Date(new FakeClock().now());
const newPerson = (name: string) => generateKey({ userIDs: [{ name }], format: "object", date });
const keyOf = ({ publicKey }: Person) => Buffer.from(publicKey.write()).toString("base64");
const fingerprintOf = ({ publicKey }: Person) => publicKey.getFingerprint();
const texts = (value: JsonValue | undefined) => JSON.parse(JSON.stringify(value ?? [])) as string[]; // test data

async function opened(base64: JsonValue | undefined, { privateKey }: Person): Promise<string> {
  const message = await readMessage({ binaryMessage: Buffer.from(String(base64), "base64") });
  const { data } = await decrypt({ message, decryptionKeys: privateKey, date });
  return String(data);
}

let people: [Person, Person];
const keys = () => people.map(keyOf);
const openedShares = (shares: JsonValue | undefined) =>
  Promise.all(people.map((person, i) => opened(texts(shares)[i], person)));
beforeAll(async () => {
  people = [await newPerson("ann"), await newPerson("ben")];
});

const put = (server: InProcessServer, path: string, data: JsonObject, token = "") =>
  server.call("update", `sys/${path}`, data, { token });

async function give(server: InProcessServer, path: string, nonce: JsonValue | undefined, shares: readonly string[]) {
  let answer = await put(server, path, { key: shares[0] ?? "", nonce: nonce ?? "" });
  for (const key of shares.slice(1)) answer = await put(server, path, { key, nonce: nonce ?? "" });
  return answer;
}

describe("initialisation for people with PGP keys", () => {
  it("gives each the share, and one the root token, encrypted", async () => {
    const server = await startInProcessServer({ uninitialised: true });
    const { body } = await put(server, "init", {
      ...{ secret_shares: 2, secret_threshold: 2 },
      ...{ pgp_keys: keys(), root_token_pgp_key: keyOf(people[1]) },
    });
    const shares = await openedShares(body["keys_base64"]);
    expect(texts(body["keys"]).map((hex) => Buffer.from(hex, "hex").toString("base64"))).toEqual(body["keys_base64"]);
    for (const key of shares) await put(server, "unseal", { key });
    const token = await opened(body["root_token"], people[1]);
    expect(token).toMatch(/^hvs\./);
    expect((await server.call("read", "auth/token/lookup-self", {}, { token })).status).toBe(200);
  });

  it("does not begin when a key is wrong", async () => {
    const server = await startInProcessServer({ uninitialised: true });
    const init = (data: JsonObject) => put(server, "init", { secret_shares: 2, secret_threshold: 2, ...data });
    expect((await init({ pgp_keys: [keyOf(people[0])] })).error).toContain(
      "pgp_keys has 1 keys and there are 2 shares",
    );
    expect((await init({ pgp_keys: [keyOf(people[0]), "AAAA"] })).error).toContain("pgp_keys[1] cannot be used");
    expect((await init({ root_token_pgp_key: "?" })).error).toContain("root_token_pgp_key is neither");
    expect((await init({ recovery_pgp_keys: keys() })).error).toContain("give pgp_keys");
    expect((await server.call("read", "sys/init", {}, { token: "" })).body).toEqual({ initialized: false });
  });

  it("does the same for recovery keys", async () => {
    const seal = createStaticSeal("static", [{ id: "1", key: SecretBytes.random(32) }], { clock: new FakeClock() });
    const server = await startInProcessServer({
      uninitialised: true,
      seals: [seal],
      openForms: OPEN,
    });
    const shares = { recovery_shares: 2, recovery_threshold: 2 };
    expect((await put(server, "init", { ...shares, pgp_keys: keys() })).error).toContain("recovery_pgp_keys");
    const { body } = await put(server, "init", { ...shares, recovery_pgp_keys: keys() });
    const { nonce } = (await put(server, "generate-root/attempt", {})).body;
    const recovery = await openedShares(body["recovery_keys_base64"]);
    expect((await give(server, "generate-root/update", nonce, recovery)).body["complete"]).toBe(true);
  });
});

describe("a rekey for people with PGP keys", () => {
  const start = async () => startInProcessServer({ shares: 2, threshold: 2, openForms: OPEN });
  const wish = (more: JsonObject = {}) => ({ secret_shares: 2, secret_threshold: 2, pgp_keys: keys(), ...more });

  it("encrypts the new shares, and keeps them if that is wished for", async () => {
    const server = await start();
    const begun = await put(server, "rekey/init", wish({ backup: true }));
    expect(begun.body).toMatchObject({ pgp_fingerprints: people.map(fingerprintOf), backup: true });
    const { body } = await give(server, "rekey/update", begun.body["nonce"], server.keys);
    expect(body).toMatchObject({ complete: true, pgp_fingerprints: people.map(fingerprintOf), backup: true });
    const kept = (await server.call("read", "sys/rekey/backup")).data;
    expect(kept["nonce"]).toBe(begun.body["nonce"]);
    expect(kept["keys_base64"]).toEqual(
      Object.fromEntries(people.map((person, i) => [fingerprintOf(person), [texts(body["keys_base64"])[i]]])),
    );
    expect((await server.call("read", "sys/rekey/recovery-key-backup")).error).toBe("no backed-up keys found");
    server.server.services.node.seal();
    for (const key of await openedShares(body["keys_base64"])) await put(server, "unseal", { key });
    expect(server.server.services.node.state).toBe("unsealed");
    expect((await server.call("delete", "sys/rekey/backup")).status).toBe(204);
    expect((await server.call("read", "sys/rekey/backup")).error).toBe("no backed-up keys found");
  });

  it("is verified by those who could decrypt theirs", async () => {
    const server = await start();
    const { nonce } = (await put(server, "rekey/init", wish({ require_verification: true }))).body;
    const { body } = await give(server, "rekey/update", nonce, server.keys);
    const shares = await openedShares(body["keys_base64"]);
    const verified = await give(server, "rekey/verify", body["verification_nonce"], shares);
    expect(verified.body).toMatchObject({ complete: true });
  });

  it("does not begin with what cannot be encrypted to", async () => {
    const server = await start();
    expect((await put(server, "rekey/init", wish({ pgp_keys: ["?", "y"] }))).error).toContain("pgp_keys[0] is neither");
    expect((await put(server, "rekey/init", wish({ pgp_keys: [], backup: true }))).error).toContain("give pgp_keys");
    expect((await server.call("read", "sys/rekey/init")).body["started"]).toBe(false);
  });
});

describe("a root token for somebody with a PGP key", () => {
  it("is encrypted in place of being combined with a pad", async () => {
    const server = await startInProcessServer({ openForms: OPEN });
    const [ann] = people;
    const both = { pgp_key: keyOf(ann), otp: "x".repeat(32) };
    expect((await put(server, "generate-root/attempt", both)).error).toBe("give otp or pgp_key, not both");
    expect((await put(server, "generate-root/attempt", { pgp_key: "?" })).error).toContain("pgp_key is neither");
    const begun = await put(server, "generate-root/attempt", { pgp_key: keyOf(ann) });
    expect(begun.body).toMatchObject({ otp: "", pgp_fingerprint: fingerprintOf(ann) });
    const { body } = await give(server, "generate-root/update", begun.body["nonce"], server.keys);
    expect(body["pgp_fingerprint"]).toBe(fingerprintOf(ann));
    const token = await opened(body["encoded_token"], ann);
    expect((await server.call("read", "auth/token/lookup-self", {}, { token })).status).toBe(200);
  });
});
