// Every seal in every situation, each through a real server process: initialised, restarted, restarted while the seal's
// service is away, with its key disabled, in a wrong context, with a new key; two seals with either one away; migration
// to every other seal and to and from shares; the emergency set; the drill.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { startAwsResponder } from "#test/kit/aws/responder.ts";
import { missingForSoftHsm, type SoftHsm, startSoftHsm } from "#test/kit/hsm/softhsm.ts";
import { awsKmsKind, pkcs11Kind, type SealKind, type SealUnderTest, staticKind } from "#test/kit/seal-kinds.ts";
import { type RunningServer, startServer, writeConfig } from "#test/kit/server.ts";
import { cli } from "#test/run-cli.ts";

const WAIT_MILLIS_MAX = 40_000;
const missing = await missingForSoftHsm();
const types = ["static", "awskms", ...(missing === undefined || process.env["CI"] ? ["pkcs11"] : [])];
const SHAMIR = { shamir: { name: "shares" } };

let folder: string;
let hsm: SoftHsm | undefined;
const cleanups: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-seals-"));
  if (types.includes("pkcs11")) hsm = await startSoftHsm();
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});
afterAll(async () => {
  await hsm?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function kindOf(type: string): SealKind {
  if (type === "static") return staticKind(folder);
  if (type === "pkcs11" && hsm) return pkcs11Kind(hsm);
  return awsKmsKind(async () => {
    const aws = await startAwsResponder();
    cleanups.push(() => aws.close());
    return aws;
  });
}

/** A stanza with more members. */
function withMembers(stanza: JsonObject, more: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(stanza).map(([type, members]) => [type, { ...(isJsonObject(members) ? members : {}), ...more }]),
  );
}

const disabled = (stanza: JsonObject) => withMembers(stanza, { disabled: true });

/** A store with a server of its own, which is started again and again. */
class World {
  readonly #folder: string;
  #server: RunningServer | undefined;
  token = "";
  keys: readonly string[] = [];

  private constructor(own: string) {
    this.#folder = own;
    cleanups.push(() => this.stop());
  }
  static async open(): Promise<World> {
    return new World(await mkdtemp(join(folder, "world-")));
  }

  get config(): string {
    return join(this.#folder, "server.json");
  }
  file(name: string): string {
    return join(this.#folder, name);
  }
  get server(): RunningServer {
    if (!this.#server) throw new Error("the server is not started");
    return this.#server;
  }
  write(seals: readonly JsonObject[], clusterName = "main"): Promise<string> {
    return writeConfig(this.#folder, { seal: [...seals], cluster_name: clusterName });
  }
  async start(seals: readonly JsonObject[], clusterName?: string): Promise<void> {
    await this.stop();
    this.#server = await startServer([`-config=${await this.write(seals, clusterName)}`]);
  }
  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }
  async call(method: string, path: string, body?: JsonObject): Promise<JsonObject & { status: number }> {
    const response = await fetch(`${this.server.address}/v1/${path}`, {
      method,
      headers: { "x-vault-token": this.token },
      ...(body && { body: JSON.stringify(body) }),
    });
    const answer = parseJson((await response.text()) || "{}");
    return { ...(isJsonObject(answer) ? answer : {}), status: response.status };
  }
  status = () => this.call("GET", "sys/seal-status");
  seals = () => this.call("GET", "sys/seal-backend-status");
  reload = async (seals: readonly JsonObject[]) => {
    await this.write(seals);
    return this.call("POST", "sys/config/reload/seal");
  };
  async init(body: JsonObject): Promise<void> {
    const made = await this.call("POST", "sys/init", body);
    this.token = String(made["root_token"]);
    this.keys = texts(made["recovery_keys_base64"] ?? made["keys_base64"]);
  }
  async enter(keys: readonly string[], migrate = false): Promise<JsonObject> {
    let last: JsonObject = {};
    for (const key of keys) last = await this.call("POST", "sys/unseal", { key, migrate });
    return last;
  }
  async until(what: () => Promise<JsonObject>, wanted: (answer: JsonObject) => boolean): Promise<JsonObject> {
    const deadline = systemClock.now() + WAIT_MILLIS_MAX;
    for (;;) {
      const answer = await what();
      if (wanted(answer)) return answer;
      if (systemClock.now() > deadline) throw new Error(`${JSON.stringify(answer)}\n${this.server.output()}`);
      await systemClock.sleep(30);
    }
  }
  opens = () => this.until(this.status, ({ sealed }) => sealed === false);
  troubled = () => this.until(this.status, ({ seal_troubles }) => isJsonArray(seal_troubles ?? null));
  wrapped = () => this.until(this.seals, ({ fully_wrapped }) => fully_wrapped === true);
}

const texts = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(String) : []);

async function initialised(...seals: readonly SealUnderTest[]): Promise<World> {
  const world = await World.open();
  await world.start(seals.map(({ stanza }) => stanza));
  await world.init({ recovery_shares: 3, recovery_threshold: 2 });
  await world.opens();
  return world;
}

describe.each(types)("%s", (type) => {
  it("opens at the start, and waits while its service is away", async () => {
    const kind = kindOf(type);
    const seal = await kind.make("one");
    const world = await initialised(seal);
    expect(await world.wrapped()).toMatchObject({ healthy: true, backends: [{ name: "one", type, generation: 1 }] });
    await world.stop();
    await seal.down();
    if (kind.waits) {
      await world.start([seal.stanza]);
      expect(await world.troubled()).toMatchObject({ sealed: true, seal_troubles: [{ seal: "one" }] });
    } else await expect(world.start([seal.stanza])).rejects.toThrow("cannot read");
    await seal.up();
    if (!kind.waits) await world.start([seal.stanza]);
    await world.opens();
  });

  it("says that its key is gone, and that it is in a wrong context", async () => {
    const seal = await kindOf(type).make("one");
    const world = await initialised(seal);
    await world.start([seal.misplaced.stanza], seal.misplaced.clusterName);
    const { reason: wrong } = seal.misplaced;
    expect(await world.troubled()).toMatchObject({ sealed: true, seal_troubles: [{ reason: wrong }] });
    await world.stop();
    const reason = await seal.disable();
    await world.start([seal.stanza]);
    expect(await world.troubled()).toMatchObject({ sealed: true, seal_troubles: [{ seal: "one", reason }] });
  });

  it("wraps anew by a new key", async () => {
    const seal = await kindOf(type).make("one");
    const world = await initialised(seal);
    await world.start([await seal.rotate()]);
    await world.opens();
    const isNew = ({ backends }: JsonObject) =>
      isJsonArray(backends ?? null) && JSON.stringify(backends).includes('"generation":2');
    expect(await world.until(world.seals, isNew)).toMatchObject({ fully_wrapped: true });
  });

  it("is migrated to from shares and back, on a running server and with the classic flow", async () => {
    const seal = await kindOf(type).make("one");
    const world = await World.open();
    await world.start([SHAMIR]);
    await world.init({ secret_shares: 3, secret_threshold: 2 });
    const [one = "", two = "", three = ""] = world.keys;
    await world.start([seal.stanza, disabled(SHAMIR)]);
    expect(await world.status()).toMatchObject({ sealed: true, migration: true, type: "shamir" });
    expect(await world.enter([one, two], true)).toMatchObject({ sealed: false, migration: false, type });
    expect((await world.reload([SHAMIR, disabled(seal.stanza)])).status).toBe(204);
    expect(await world.status()).toMatchObject({ sealed: false, migration: true });
    expect(await world.enter([two, three], true)).toMatchObject({ migration: false, type: "shamir" });
    await world.start([SHAMIR]);
    expect(await world.enter([one, three])).toMatchObject({ sealed: false, recovery_seal: false });
  });
});

const pairs = types.flatMap((a, i) => types.slice(i + 1).map((b) => [a, b] as const));

describe.each(pairs)("%s and %s together", (first, second) => {
  it("open while either one is away; the one that returns is used again", async () => {
    const [one, two] = [await kindOf(first).make("one"), await kindOf(second).make("two")];
    const world = await initialised(one, two);
    const both = [one.stanza, two.stanza];
    // What a server reads at its start must be there: a key's file is taken away by another key in its place.
    for (const seal of [one, two]) {
      if (seal.stanza["static"]) continue;
      await world.stop();
      await seal.down();
      await world.start(both);
      await world.opens();
      const down = await world.until(world.seals, ({ healthy }) => healthy === false);
      expect(down).toMatchObject({ unhealthy_since: expect.any(String) });
      await seal.up();
    }
    const lost = await one.disable();
    await world.start(both);
    await world.opens();
    expect(lost).not.toBe("");
  });

  it("take each other's place on a running server, and the last one stays", async () => {
    const [one, two] = [await kindOf(first).make("one"), await kindOf(second).make("two")];
    const world = await initialised(one);
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      expect((await world.reload([from.stanza, to.stanza])).status).toBe(204);
      expect((await world.reload([to.stanza])).status).toBe(204);
      await world.start([to.stanza]);
      await world.opens();
      const refused = await world.reload([SHAMIR]);
      expect(refused).toMatchObject({ status: 400, errors: [expect.stringContaining("would leave no seal")] });
      expect(JSON.stringify((await world.seals())["backends"])).not.toContain(`"${from.name}"`);
    }
  });
});

describe("when every seal is gone", () => {
  it("the emergency set opens, and a new seal takes over; a drill would have told", async () => {
    const seal = await kindOf("awskms").make("kms");
    const emergency = { shamir: { name: "emergency" } };
    const world = await World.open();
    await world.start([seal.stanza, emergency]);
    await world.init({ recovery_shares: 0, recovery_threshold: 0 });
    const setting = { address: world.server.address, env: { VAULT_TOKEN: world.token } };
    const made = await cli(
      setting,
      "operator",
      "seal",
      "emergency",
      "-init",
      "-key-shares=3",
      "-key-threshold=2",
      "-format=json",
    );
    expect([made.code, made.stderr]).toEqual([0, ""]);
    const shares = texts(isJsonObject(parseJson(made.stdout) ?? null) ? JSON.parse(made.stdout)["keys_base64"] : []);
    expect(shares).toHaveLength(3);
    const snapshot = world.file("backup.snap");
    expect((await cli(setting, "operator", "snapshot", "save", snapshot)).code).toBe(0);
    const drill = (...more: string[]) =>
      cli(
        { clock: systemClock },
        "operator",
        "drill",
        `-config=${world.config}`,
        `-snapshot=${snapshot}`,
        "-format=json",
        ...more,
      );
    const good = await drill();
    expect([good.code, JSON.parse(good.stdout)]).toMatchObject([
      0,
      {
        seals: [
          { seal: "kms", result: "opens" },
          { seal: "emergency", result: "people" },
        ],
      },
    ]);
    await world.stop();
    await seal.disable();
    const bad = await drill();
    expect([bad.code, JSON.parse(bad.stdout)]).toMatchObject([
      2,
      { seals: [{ seal: "kms", result: "fails", reason: expect.stringContaining("KeyDisabled") }, {}] },
    ]);
    await world.start([seal.stanza, emergency]);
    expect(await world.troubled()).toMatchObject({ sealed: true, emergency: { n: 3, t: 2 } });
    expect(await world.enter(shares.slice(1))).toMatchObject({ sealed: false });
    const next = await kindOf("static").make("new");
    expect(await world.reload([next.stanza, emergency])).toMatchObject({ status: 204 });
    await world.start([next.stanza, emergency]);
    await world.opens();
    expect(await world.wrapped()).toMatchObject({ backends: [{ name: "new" }] });
  });
});
