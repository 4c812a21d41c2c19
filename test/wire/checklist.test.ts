// What clients of this API rely on, in 68 numbered items, shown against one real server. What cannot be shown yet is in
// `notYet` with its reason, and runs all the same: an item that passes must leave that list.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { Api, type Item } from "./checklist/checklist.ts";
import { clusterItems } from "./checklist/cluster-items.ts";
import { envelopeItems } from "./checklist/envelope-items.ts";
import { logicalItems } from "./checklist/logical-items.ts";
import { tokenItems } from "./checklist/token-items.ts";

const NUMBERS = 68;
const items: readonly Item[] = [...envelopeItems, ...tokenItems, ...logicalItems, ...clusterItems];

/** Sentences of items that do not pass, each with the reason. */
const notYet: ReadonlyMap<string, string> = new Map([
  ["keys of transit cannot be deleted unless that was allowed", "the engine transit is not there"],
  ["a standby redirects when it is told not to forward", "every node is active: there is no standby, by design"],
  ["a write names the index after which it can be read", "nodes read the store itself: there is no index, by design"],
  ["a raft cluster names its members", "the storage is not raft: nothing to name, by design"],
]);

describe("what clients rely on", () => {
  let server: ShamirServer;
  let api: Api;

  beforeAll(async () => {
    server = await startShamirServer();
    api = new Api(server);
    await api.must("POST sys/mounts/one", { body: { type: "kv", options: { version: "1" } } });
    await api.must("POST sys/mounts/two", { body: { type: "kv", options: { version: "2" } } });
    await api.must("POST sys/mounts/limited", { body: { type: "kv", options: { version: "1" } } });
    await api.must("POST sys/auth/userpass", { body: { type: "userpass" } });
    await api.must("POST sys/auth/approle", { body: { type: "approle" } });
    await api.must("POST auth/userpass/users/somebody", { body: { password: "right" } });
  });
  afterAll(async () => {
    await server?.stop();
  });

  const ordered = [...items.filter((item) => !item.comesLast), ...items.filter((item) => item.comesLast)];
  it.sequential.each(ordered.map((item) => [item.number, item.says, item] as const))(
    "%i: %s",
    async (_n, says, item) => {
      const reason = notYet.get(says);
      if (reason === undefined) return item.shows(api);
      await expect(item.shows(api), `passes now, take it out of notYet (${reason})`).rejects.toThrow();
    },
  );

  it("has every number", () => {
    const numbers = new Set(items.map((item) => item.number));
    expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: NUMBERS }, (_, i) => i + 1));
  });

  it("excuses nothing that is not there", () => {
    const sentences = items.map((item) => item.says);
    expect(new Set(sentences).size).toBe(sentences.length);
    expect([...notYet.keys()].filter((says) => !sentences.includes(says))).toEqual([]);
  });
});
