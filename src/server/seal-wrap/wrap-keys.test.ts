import { expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { currentGeneration, readWrapKeys, WRAP_KEYS_KEY, wrapPurpose, writeWrapKeys } from "./wrap-keys.ts";

/** The worked example: the record as it is stored, behind the barrier. */
const EXAMPLE = `{"version":1,"wrapping":true,"generations":[{"generation":2,"createdTime":"2026-11-25T00:00:00.000Z","copies":[{"seal":"kms-eu","keyId":"arn:aws:kms:eu-west-1:1:key/2","ciphertext":"AQID","wrappedTime":"2026-11-25T00:00:01.000Z"}]}]}`;

async function begin() {
  const barrier = new Barrier({ storage: openMemoryStorage(), clock: new FakeClock(), log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  return barrier.begin();
}

it("writes and reads the worked example", async () => {
  const tx = await begin();
  expect(await readWrapKeys(tx)).toBeUndefined();
  tx.put(WRAP_KEYS_KEY, Buffer.from(EXAMPLE));
  const keys = await readWrapKeys(tx);
  expect(currentGeneration(keys)).toMatchObject({ generation: 2, copies: [{ seal: "kms-eu" }] });
  if (keys) writeWrapKeys(tx, keys);
  expect(Buffer.from((await tx.get(WRAP_KEYS_KEY)) ?? []).toString()).toBe(EXAMPLE);
});

it("names no generation while nothing is wrapped, and binds each copy to its own", () => {
  expect(currentGeneration({ version: 1, wrapping: false, generations: [] })).toBeUndefined();
  expect(wrapPurpose(2)).toBe("seal-wrap-2");
});
