// Kills a server at random instants while writers are at work, and looks at what is there afterwards. An answer is a
// promise: what was acknowledged is there, whole and readable, after every restart; what was not may be there, but then
// whole as well; and the server comes up unsealed each time.
import { createHash, randomBytes, randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { at, must, send } from "#test/kit/client.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";

const ROUNDS = 24;
/** How long the writers run before the kill, at most. */
const ROUND_MILLIS_MAX = 900;
const SECRET_WRITERS = 4;
const TOKEN_WRITERS = 2;
/** Large enough for values that take several pages of the store. */
const SECRET_BYTES_MAX = 10_000;
/** Reads at once when everything is looked at. */
const READERS = 8;
const TEST_MILLIS_MAX = 240_000;

/** What was acknowledged. */
interface Ledger {
  /** Paths of secrets that were written once. */
  readonly secrets: Set<string>;
  readonly tokens: Set<string>;
  /** Last acknowledged version of the one secret that is written again and again. */
  overwritten: number;
}

describe("kill -9", () => {
  it(
    `loses nothing that was acknowledged, in ${ROUNDS} rounds`,
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "coffer-crash-"));
      try {
        await runRounds(folder);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    TEST_MILLIS_MAX,
  );
});

async function runRounds(folder: string): Promise<void> {
  const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "crash" } };
  const config = await writeConfig(folder, { seal });
  const ledger: Ledger = { secrets: new Set(), tokens: new Set(), overwritten: 0 };
  let server = await start(config);
  try {
    const root = await initialise(server);
    for (let round = 0; round < ROUNDS; round++) {
      const fresh = await writeUntilKilled(server, root, round, ledger);
      server = await start(config);
      if (round % 4 === 3) server = await killWhileStarting(server, config);
      await untilUnsealed(server);
      await assertThere(server, root, fresh, ledger.overwritten);
    }
    await assertThere(server, root, ledger, ledger.overwritten);
    await assertAllReadable(server, root, ledger);
    console.log(`${ledger.secrets.size} secrets, ${ledger.overwritten} versions, ${ledger.tokens.size} tokens kept`);
  } catch (error) {
    throw new Error(`${messageOf(error)}\n${server.output()}`, { cause: error });
  } finally {
    await server.kill9();
  }
}

function start(config: string): Promise<RunningServer> {
  return startServer([`-config=${config}`]);
}

async function killWhileStarting(server: RunningServer, config: string): Promise<RunningServer> {
  await systemClock.sleep(randomInt(30));
  await server.kill9();
  return start(config);
}

async function initialise(server: RunningServer): Promise<string> {
  const made = await must(server.address, "", "POST", "sys/init", { recovery_shares: 1, recovery_threshold: 1 });
  const root = textOf(made["root_token"]);
  await untilUnsealed(server);
  await must(server.address, root, "POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  return root;
}

/** Lets the writers run, kills the server, and gives what was acknowledged in this round. */
async function writeUntilKilled(
  server: RunningServer,
  root: string,
  round: number,
  ledger: Ledger,
): Promise<Pick<Ledger, "secrets" | "tokens">> {
  const fresh = { secrets: new Set<string>(), tokens: new Set<string>() };
  const { address } = server;
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
  const writers = [
    ...numbers(SECRET_WRITERS).map((writer) => writeSecrets(address, root, `w${writer}/${round}`, fresh.secrets)),
    ...numbers(TOKEN_WRITERS).map(() => createTokens(address, root, fresh.tokens)),
    overwrite(address, root, ledger),
  ];
  await systemClock.sleep(randomInt(ROUND_MILLIS_MAX));
  await server.kill9();
  await Promise.all(writers);
  for (const path of fresh.secrets) ledger.secrets.add(path);
  for (const token of fresh.tokens) ledger.tokens.add(token);
  return fresh;
}

async function writeSecrets(address: string, root: string, prefix: string, acknowledged: Set<string>): Promise<void> {
  for (let i = 0; ; i++) {
    const path = `${prefix}-${i}`;
    const answer = await send(address, root, "POST", `secret/data/${path}`, { data: secretOf(path) });
    if (answer === undefined) return;
    expect(answer.status, path).toBe(200);
    acknowledged.add(path);
  }
}

async function createTokens(address: string, root: string, acknowledged: Set<string>): Promise<void> {
  for (;;) {
    const body = { policies: ["default"], ttl: "1h", no_parent: true };
    const answer = await send(address, root, "POST", "auth/token/create", body);
    if (answer === undefined) return;
    expect(answer.status).toBe(200);
    acknowledged.add(textOf(at(answer.body, "auth", "client_token")));
  }
}

async function overwrite(address: string, root: string, ledger: Ledger): Promise<void> {
  for (;;) {
    const answer = await send(address, root, "POST", "secret/data/again", { data: { v: "x".repeat(100) } });
    if (answer === undefined) return;
    expect(answer.status).toBe(200);
    ledger.overwritten = Number(at(answer.body, "data", "version"));
  }
}

async function assertThere(
  { address }: RunningServer,
  root: string,
  { secrets, tokens }: Pick<Ledger, "secrets" | "tokens">,
  overwritten: number,
): Promise<void> {
  await forEach([...secrets], (path) => assertSecret(address, root, path));
  await forEach([...tokens], async (token) => {
    const shown = await must(address, token, "GET", "auth/token/lookup-self");
    expect(at(shown, "data", "policies")).toEqual(["default"]);
  });
  if (overwritten === 0) return;
  const latest = await must(address, root, "GET", "secret/data/again");
  // The write under way at the kill may have been committed without its answer: once for each kill.
  expect(Number(at(latest, "data", "metadata", "version"))).toBeGreaterThanOrEqual(overwritten);
}

/** Also what was never acknowledged: all that a list names can be read. */
async function assertAllReadable({ address }: RunningServer, root: string, ledger: Ledger): Promise<void> {
  const seen = new Set<string>();
  for (let writer = 0; writer < SECRET_WRITERS; writer++) {
    const listed = await must(address, root, "GET", `secret/metadata/w${writer}?list=true`);
    for (const name of textsOf(at(listed, "data", "keys"))) seen.add(`w${writer}/${name}`);
  }
  await forEach([...seen], (path) => assertSecret(address, root, path));
  expect([...ledger.secrets].filter((path) => !seen.has(path))).toEqual([]);
  const accessors = textsOf(at(await must(address, root, "GET", "auth/token/accessors?list=true"), "data", "keys"));
  expect(accessors.length).toBeGreaterThanOrEqual(ledger.tokens.size);
  await forEach(accessors, async (accessor) => {
    await must(address, root, "POST", "auth/token/lookup-accessor", { accessor });
  });
}

async function assertSecret(address: string, root: string, path: string): Promise<void> {
  const read = await must(address, root, "GET", `secret/data/${path}`);
  expect(at(read, "data", "data"), path).toEqual(secretOf(path));
}

/** Known from the path, so that what was never acknowledged can be checked too. */
function secretOf(path: string): JsonObject {
  const seed = createHash("sha256").update(path).digest();
  return { path, filling: seed.toString("hex").repeat(1 + (seed.readUInt16BE(0) % (SECRET_BYTES_MAX / 64))) };
}

async function forEach<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: READERS }, async () => {
      for (const item of queue) await run(item);
    }),
  );
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new Error("an answer lacks a text that it always has");
  return value;
}
