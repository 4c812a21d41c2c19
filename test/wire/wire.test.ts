// Replays every recorded scenario against one server process: without a hard difference, or named in pending.ts.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { startTokenReviewServer, type TokenReviewServer } from "#test/kit/token-review.ts";
import { PENDING } from "./pending.ts";
import { type ReplayOutcome, replay } from "./scenario.ts";

const FOLDER = join(import.meta.dirname, "scenarios");
/** These change what the whole server does, so nothing may run beside them; the one that seals comes last. */
const ALONE = ["sys-config", "sys-quotas", "sys-rekey", "sys-seal"];
/** Some scenarios wait for tokens and leases to run out. */
const SCENARIO_MILLIS_MAX = 120_000;

const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -".json".length));

describe("recorded conversations", () => {
  let server: ShamirServer;
  let cluster: TokenReviewServer;
  let softDifferences = 0;

  beforeAll(async () => {
    cluster = await startTokenReviewServer();
    server = await startShamirServer({
      listener: {
        tcp: {
          ...{ address: "127.0.0.1:0", tls_disable: true },
          ...{ disable_unauthed_rekey_endpoints: false, disable_unauthed_generate_root_endpoints: false },
        },
      },
    });
  });
  afterAll(async () => {
    await server?.stop();
    await cluster?.close();
    console.log(`${softDifferences} differences in the wording of errors and warnings`);
  });

  async function run(name: string): Promise<void> {
    const env = { UNSEAL_KEY: server.unsealKey, K8S_HOST: cluster.address };
    const outcome = await replay(readScenario(name), { address: server.address, rootToken: server.rootToken, env });
    softDifferences += outcome.soft.length;
    assertExpected(name, outcome);
  }

  it.concurrent.each(names.filter((name) => !ALONE.includes(name)))("%s", run, SCENARIO_MILLIS_MAX);
  it.sequential.each(ALONE)("%s, alone", run, SCENARIO_MILLIS_MAX);

  it("names in pending.ts are scenarios", () => {
    expect([...PENDING.keys()].filter((name) => !names.includes(name))).toEqual([]);
  });
});

function assertExpected(name: string, outcome: ReplayOutcome): void {
  const differences = outcome.skipped === undefined ? outcome.hard : [`not run: ${outcome.skipped}`];
  if (!PENDING.has(name)) expect(differences, differences.join("\n")).toEqual([]);
  else expect(differences, `${name} passes: take it out of test/wire/pending.ts`).not.toEqual([]);
}

function readScenario(name: string): JsonObject {
  const scenario = parseJson(readFileSync(join(FOLDER, `${name}.json`), "utf8"));
  if (!isJsonObject(scenario)) throw new Error(`${name} is no scenario`);
  return scenario;
}
