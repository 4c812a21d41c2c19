// The restore drill: a snapshot while writers are at work, the cluster destroyed, the snapshot restored to a fresh store
// of each kind, and every value compared with what was true at the snapshot's instant. A secret's version and its value
// are two records that are written together, so they tell whether a restored store is one instant.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { at, must, send } from "#test/kit/client.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";
import { type SharedStorage, sharedKinds, startSharedStorage } from "#test/kit/shared-storages.ts";

const WRITERS = 6;
/** The writers run this long before the snapshot begins. */
const WARM_MILLIS = 1_200;
const SILENT_SECRETS = 120;
const TEST_MILLIS_MAX = 200_000;

/** What one writer knows of its secret: version n has the value "n". */
interface Ledger {
  acknowledged: number;
  begun: number;
}

const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "drill" } };

async function write(server: RunningServer, token: string, ledgers: readonly Ledger[], signal: AbortSignal) {
  await Promise.all(
    ledgers.map(async (ledger, i) => {
      while (!signal.aborted) {
        ledger.begun++;
        const body = { data: { value: String(ledger.begun), fill: randomBytes(300).toString("hex") } };
        await must(server.address, token, "POST", `secret/data/w${i}`, body);
        ledger.acknowledged = ledger.begun;
      }
    }),
  );
}

interface Taken {
  readonly file: string;
  readonly token: string;
  readonly least: readonly number[];
  readonly most: readonly number[];
}

async function takeUnderLoad(folder: string, storage: SharedStorage): Promise<Taken> {
  const config = await writeConfig(folder, { seal, storage: storage.stanza });
  const server = await startServer([`-config=${config}`]);
  try {
    const made = await must(server.address, "", "POST", "sys/init", { recovery_shares: 1, recovery_threshold: 1 });
    await untilUnsealed(server);
    const token = String(made["root_token"]);
    await must(server.address, token, "POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    for (let i = 0; i < SILENT_SECRETS; i++)
      await must(server.address, token, "POST", `secret/data/s${i}`, { data: { value: `silent ${i}` } });
    const ledgers = Array.from({ length: WRITERS }, () => ({ acknowledged: 0, begun: 0 }));
    const stop = new AbortController();
    const writing = write(server, token, ledgers, stop.signal);
    await systemClock.sleep(WARM_MILLIS);
    const least = ledgers.map(({ acknowledged }) => acknowledged);
    const response = await fetch(`${server.address}/v1/sys/storage/snapshot`, { headers: { "X-Vault-Token": token } });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const most = ledgers.map(({ begun }) => begun);
    await systemClock.sleep(100);
    stop.abort();
    await writing;
    expect(response.status).toBe(200);
    expect(ledgers.some(({ acknowledged }, i) => acknowledged > (most[i] ?? 0))).toBe(true);
    const file = join(folder, "drill.snap");
    await writeFile(file, bytes);
    return { file, token, least, most };
  } finally {
    await server.stop();
  }
}

const secretIn = (answer: JsonObject | undefined) => at(answer, "data", "data", "value");

async function compare(server: RunningServer, { token, least, most }: Taken): Promise<void> {
  for (let i = 0; i < SILENT_SECRETS; i++)
    expect(secretIn(await must(server.address, token, "GET", `secret/data/s${i}`))).toBe(`silent ${i}`);
  for (let i = 0; i < WRITERS; i++) {
    const current = await must(server.address, token, "GET", `secret/data/w${i}`);
    const version = Number(at(current, "data", "metadata", "version"));
    expect(secretIn(current)).toBe(String(version));
    expect(version).toBeGreaterThanOrEqual(least[i] ?? 0);
    expect(version).toBeLessThanOrEqual(most[i] ?? 0);
    const before = await must(server.address, token, "GET", `secret/data/w${i}?version=${version - 1}`);
    expect(secretIn(before)).toBe(String(version - 1));
    expect((await send(server.address, token, "GET", `secret/data/w${i}?version=${version + 1}`))?.status).toBe(404);
  }
}

describe.each(sharedKinds)("a snapshot of $type taken under load", (source) => {
  it(
    "restores, to a fresh store of every kind, exactly one instant",
    async (context) => {
      const folder = await mkdtemp(join(tmpdir(), "coffer-drill-"));
      try {
        let taken: Taken;
        {
          await using storage = await startSharedStorage(source);
          if (!storage) return context.skip(`what storage ${source.type} needs is not installed here`);
          taken = await takeUnderLoad(folder, storage);
        }
        for (const target of sharedKinds) {
          await using storage = await startSharedStorage(target);
          if (!storage) continue;
          const config = await writeConfig(folder, { seal, storage: storage.stanza });
          const server = await startServer([`-config=${config}`, `-restore=${taken.file}`]);
          try {
            await untilUnsealed(server);
            await compare(server, taken);
            await must(server.address, taken.token, "POST", "secret/data/after", { data: { value: "works" } });
          } finally {
            await server.stop();
          }
        }
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    TEST_MILLIS_MAX,
  );
});
