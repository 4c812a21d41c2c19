// A server that dies at any commit of a rekey with verification: whoever holds shares must still be able to open the
// store, by the old ones or by the new ones, which they have confirmed by then.
import { expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { startInProcessServer } from "#test/kit/in-process-server.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";

type Moment = "before" | "after";

/** Storage whose process dies at the n-th commit from when it is armed: before it is made, or right after. */
function mortal() {
  const inner = openMemoryStorage();
  const state: { left: number; moment: Moment; dead: boolean } = { left: Infinity, moment: "before", dead: false };
  const alive = <T>(work: () => Promise<T>): Promise<T> =>
    state.dead ? Promise.reject(new Error("the process is dead")) : work();
  const storage: Storage = {
    get: (keys) => alive(() => inner.get(keys)),
    list: (prefix, page) => alive(() => inner.list(prefix, page)),
    scan: (range) => alive(() => inner.scan(range)),
    watch: (onChange) => inner.watch(onChange),
    snapshot: () => inner.snapshot(),
    close: () => inner.close(),
    commit: async (batch) => {
      if (--state.left > 0) return alive(() => inner.commit(batch));
      if (state.moment === "after" && !state.dead) await inner.commit(batch);
      state.dead = true;
      throw new Error("the process is dead");
    },
  };
  return { inner, storage, state };
}

async function opensBy(storage: Storage, key: string): Promise<boolean> {
  const seals = [createShamirSeal("shamir")];
  const { server } = await startInProcessServer({ seals, parts: { storage }, uninitialised: true });
  const { node } = server.services;
  await node.submitShare(new SecretBytes(Buffer.from(key, "base64"))).catch(() => {});
  const isOpen = node.state === "unsealed";
  node.stop();
  return isOpen;
}

/** Which keys open the store after a death at that commit of the last step; undefined when the step ended before it. */
async function after(commit: number, moment: Moment): Promise<{ old: boolean; renewed: boolean } | undefined> {
  const { inner, storage, state } = mortal();
  const server = await startInProcessServer({ seals: [createShamirSeal("shamir")], parts: { storage } });
  const [old = ""] = server.keys;
  const wish = { secret_shares: 1, secret_threshold: 1, require_verification: true };
  const { nonce } = (await server.call("update", "sys/rekey/init", wish)).body;
  const made = (await server.call("update", "sys/rekey/update", { key: old, nonce: String(nonce) })).body;
  const [renewed] = made["keys_base64"] as string[];
  Object.assign(state, { left: commit, moment });
  await server.call("update", "sys/rekey/verify", {
    key: String(renewed),
    nonce: String(made["verification_nonce"]),
  });
  if (!state.dead) return undefined;
  return { old: await opensBy(inner, old), renewed: await opensBy(inner, String(renewed)) };
}

it.each(["before", "after"] as const)("opens by one set of shares after a death %s each commit", async (moment) => {
  const seen: string[] = [];
  for (let commit = 1; ; commit++) {
    const opened = await after(commit, moment);
    if (!opened) break;
    expect([commit, opened.old !== opened.renewed]).toEqual([commit, true]);
    seen.push(opened.old ? "old" : "new");
  }
  expect(seen.length).toBeGreaterThan(1);
  expect(seen[0]).toBe("old");
  if (moment === "after") expect(seen).toContain("new");
});
