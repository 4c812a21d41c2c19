// A snapshot for a server whose seals are others: the seal of back then opens it once more, as a retired one, and the
// seals of today get their copies.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { at, exchange, must } from "#test/kit/client.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";

let folder: string;
let snapshot: string;
let rootToken: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-seals-"));
  const server = await startServer([await configOf("old", seal("old", 1))]);
  try {
    const made = await must(server.address, "", "POST", "sys/init", { recovery_shares: 1, recovery_threshold: 1 });
    rootToken = String(made["root_token"]);
    await untilUnsealed(server);
    await must(server.address, rootToken, "POST", "sys/mounts/secret", { type: "kv" });
    await must(server.address, rootToken, "POST", "secret/a", { value: "kept" });
    snapshot = join(folder, "s.snap");
    await writeFile(snapshot, await take(server));
  } finally {
    await server.stop();
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const seal = (name: string, fill: number, more: JsonObject = {}): JsonObject => ({
  static: { name, current_key: Buffer.alloc(32, fill).toString("base64"), current_key_id: name, ...more },
});

async function configOf(name: string, ...seals: JsonObject[]): Promise<string> {
  return `-config=${await writeConfig(await mkdtemp(join(folder, `${name}-`)), { seal: seals })}`;
}

async function take({ address }: RunningServer): Promise<Uint8Array> {
  const response = await fetch(`${address}/v1/sys/storage/snapshot`, { headers: { "X-Vault-Token": rootToken } });
  return new Uint8Array(await response.arrayBuffer());
}

async function valueOn(server: RunningServer) {
  await untilUnsealed(server);
  return at(await must(server.address, rootToken, "GET", "secret/a"), "data", "value");
}

describe("a snapshot of other seals", () => {
  it("opens by the old seal, retired, and then by the new one alone", async () => {
    const config = await configOf("new", seal("new", 2), seal("old", 1, { disabled: true, priority: 2 }));
    const first = await startServer([config, `-restore=${snapshot}`]);
    try {
      expect(await valueOn(first)).toBe("kept");
      await expect.poll(async () => sealsIn(await take(first)), { timeout: 10_000 }).toContain("new");
    } finally {
      await first.stop();
    }
    // The same store, without the seal of before.
    await writeFile(
      config.slice("-config=".length),
      JSON.stringify({
        storage: { lmdb: { path: join(config.slice("-config=".length), "../data") } },
        listener: { tcp: { address: "127.0.0.1:0", tls_disable: true } },
        seal: seal("new", 2),
      }),
    );
    const second = await startServer([config, `-restore=${snapshot}`]);
    try {
      expect(await valueOn(second)).toBe("kept");
      expect(second.output()).toContain("nothing is restored");
    } finally {
      await second.stop();
    }
  });

  it("stays sealed where no seal opens it, and says so", async () => {
    const other = await startServer([await configOf("other", seal("other", 3)), `-restore=${snapshot}`]);
    try {
      expect(other.output()).toContain("nothing proves who made it");
      expect((await exchange(other.address, rootToken, "GET", "secret/a")).status).toBe(503);
    } finally {
      await other.stop();
    }
    const wrongKey = seal("old", 9);
    const wrong = await startServer([await configOf("wrong", wrongKey), `-restore=${snapshot}`]);
    try {
      expect((await exchange(wrong.address, rootToken, "GET", "secret/a")).status).toBe(503);
    } finally {
      await wrong.stop();
    }
  });
});

/** Names of the seals in the beginning of a snapshot. */
function sealsIn(bytes: Uint8Array): readonly string[] {
  const plain = gunzipSync(bytes).toString("latin1", 512, 2048);
  return [...plain.matchAll(/"name":"([a-z]+)"/g)].map(([, name = ""]) => name);
}
