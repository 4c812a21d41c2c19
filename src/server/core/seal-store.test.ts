import { describe, expect, it } from "vitest";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { newSealWrites, readSeal } from "./seal-store.ts";

const CONFIG = '{"version":1,"type":"static","shares":1,"threshold":1,"recoveryShares":0,"recoveryThreshold":0}';
const KEYS = '{"version":1,"root":[{"seal":"static","keyId":"k","ciphertext":"AA=="}],"recovery":[]}';

async function storeOf(config: string, keys: string) {
  const storage = openMemoryStorage();
  const writes = new Map([
    ["core/seal-config", Buffer.from(config)],
    ["core/seal-keys", Buffer.from(keys)],
  ]);
  await storage.commit({ expected: new Map(), writes });
  return storage;
}

describe("what is readable before the barrier opens", () => {
  it("is read from the worked example and written like it", async () => {
    const stored = await readSeal(await storeOf(CONFIG, KEYS));
    expect(stored?.keys.root).toEqual([{ seal: "static", keyId: "k", ciphertext: "AA==" }]);
    const writes = stored && newSealWrites(stored.config, stored.keys);
    expect(writes?.map(({ value }) => Buffer.from(value ?? []).toString())).toEqual([CONFIG, KEYS]);
  });

  it("is read from the first records, which did not name their version", async () => {
    const without = (text: string) => text.replace('"version":1,', "");
    expect((await readSeal(await storeOf(without(CONFIG), without(KEYS))))?.config.type).toBe("static");
  });

  it("is refused in a newer version", async () => {
    const newer = (text: string) => text.replace('"version":1', '"version":2');
    const refused = { code: "invalid_request", message: expect.stringContaining("use a newer one") };
    await expect(readSeal(await storeOf(newer(CONFIG), KEYS))).rejects.toMatchObject(refused);
    await expect(readSeal(await storeOf(CONFIG, newer(KEYS)))).rejects.toMatchObject(refused);
  });
});
