// A restore on one node while another serves the same store: what the other answers is of before or of after, never a
// mixture, and it goes on by itself.
import { describe, expect, it } from "vitest";
import { at } from "#test/kit/client.ts";
import { sharedKinds, startSharedStorage } from "#test/kit/shared-storages.ts";
import { call, must, startTwoServers, type TwoServers } from "#test/kit/two-servers.ts";

const SECRETS = 40;
const TEST_MILLIS_MAX = 90_000;

/** Values of all secrets as the second server tells them, read one after the other, until told to stop. */
async function watchOther({ two, root }: TwoServers, signal: AbortSignal): Promise<readonly string[]> {
  const seen: string[] = [];
  while (!signal.aborted) {
    for (let i = 0; i < SECRETS && !signal.aborted; i++) {
      const { status, body } = await call(two, "GET", `secret/s${i}`, root);
      seen.push(status === 200 ? String(at(body, "data", "value")) : `${status}`);
    }
  }
  return seen;
}

describe.each(sharedKinds)("a restore on one of two servers on $type", (kind) => {
  it(
    "is seen by the other as before, then refusals, then after",
    async (context) => {
      await using storage = await startSharedStorage(kind);
      if (!storage) return context.skip(`what storage ${kind.type} needs is not installed here`);
      const servers = await startTwoServers(storage.stanza);
      const { one, two, root } = servers;
      try {
        const writeAll = async (value: string) => {
          for (let i = 0; i < SECRETS; i++) await must(two, "PUT", `secret/s${i}`, root, { value });
        };
        await writeAll("snapshot");
        const headers = { "X-Vault-Token": root };
        const taken = await fetch(`${one.address}/v1/sys/storage/snapshot`, { headers });
        const snapshot = new Uint8Array(await taken.arrayBuffer());
        await writeAll("later");
        const stop = new AbortController();
        const watching = watchOther(servers, stop.signal);
        const url = `${one.address}/v1/sys/storage/snapshot`;
        const restored = await fetch(url, { method: "POST", headers, body: snapshot });
        expect(restored.status, await restored.text()).toBe(204);
        await expect
          .poll(async () => (await call(two, "GET", "secret/s0", root)).status, { timeout: 20_000 })
          .toBe(200);
        stop.abort();
        const seen = await watching;
        const runs = seen.filter((value, i) => value !== seen[i - 1]);
        // 503 while it stands still; what is read at the very moment of sealing may be refused in other words.
        expect(runs.filter((value) => value === "later" || value === "snapshot")).toEqual(["later", "snapshot"]);
        expect(runs).toContain("503");
        expect(new Set(runs).difference(new Set(["later", "snapshot", "503"])).size).toBe(0);
        for (let i = 0; i < SECRETS; i++)
          expect(at((await call(two, "GET", `secret/s${i}`, root)).body, "data", "value")).toBe("snapshot");
        await must(two, "PUT", "secret/after", root, { value: "works" });
        expect((await call(one, "GET", "secret/after", root)).status).toBe(200);
      } finally {
        await servers.stop();
      }
    },
    TEST_MILLIS_MAX,
  );
});
