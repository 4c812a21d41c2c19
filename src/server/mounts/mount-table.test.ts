import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { noMountConfig } from "./mount-record.ts";
import { createMount, findMount, listAuthMounts, listMounts } from "./mount-table.ts";

const mount = (path: string) => ({
  path,
  type: "kv",
  description: "",
  options: {},
  config: noMountConfig,
  local: false,
  sealWrap: false,
});

/** A store, and how many keys it was asked for. */
async function openStore() {
  const storage = openMemoryStorage();
  const asked = { keys: 0 };
  const get = storage.get.bind(storage);
  storage.get = (keys) => {
    asked.keys += keys.length;
    return get(keys);
  };
  const barrier = new Barrier({ storage, clock: new FakeClock(), log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const run = async <T>(work: (tx: Transaction) => Promise<T>) => {
    const tx = barrier.begin();
    const result = await work(tx);
    return { result, outcome: await tx.commit() };
  };
  return { asked, run, begin: () => barrier.begin() };
}

describe("the mount table", () => {
  it("gives the auth methods without reading the other mounts, in namespaces too", async () => {
    const { asked, run } = await openStore();
    const paths = [
      "auth/b/",
      "auth/a-c/",
      "auth/é/",
      "authority/",
      "zzz/",
      ...Array.from({ length: 60 }, (_, i) => `kv${i}/`),
    ];
    await run(async (tx) => {
      for (const part of [tx, namespaceView(tx, "n1")]) for (const path of paths) await createMount(part, mount(path));
    });
    for (const within of [(tx: Transaction) => tx, (tx: Transaction) => namespaceView(tx, "n1")]) {
      asked.keys = 0;
      const { result } = await run((tx) => listAuthMounts(within(tx)));
      expect(result.map(({ path }) => path)).toEqual(["auth/é/", "auth/a-c/", "auth/b/"]);
      expect(asked.keys).toBeLessThan(12);
    }
  });

  it("finds the one mount of a path, at any depth", async () => {
    const { run } = await openStore();
    await run(async (tx) => {
      for (const path of ["secret/", "team/a/kv/", "auth/userpass/", "auth/deep/er/"])
        await createMount(tx, mount(path));
    });
    const { result } = await run((tx) =>
      Promise.all(
        ["secret/data/a/b", "secret", "team/a/kv/x", "team/a", "auth/userpass/login/u", "auth/deep/er/x", "none/x"].map(
          async (path) => (await findMount(tx, path))?.path,
        ),
      ),
    );
    expect(result).toEqual([
      "secret/",
      "secret/",
      "team/a/kv/",
      undefined,
      "auth/userpass/",
      "auth/deep/er/",
      undefined,
    ]);
  });

  it("asks for one key where the mount is at the first segment, however long the path", async () => {
    const { run, asked } = await openStore();
    await run((tx) => createMount(tx, mount("secret/")));
    const before = asked.keys;
    await run((tx) => findMount(tx, "secret/data/a/b/c/d/e/f"));
    expect(asked.keys - before).toBe(1);
  });

  it.each([
    ["secret/", "secret/data/"],
    ["secret/data/", "secret/"],
    ["secret/", "secret/"],
  ])("lets no mount nest: %s, then %s", async (one, other) => {
    const { run } = await openStore();
    await run((tx) => createMount(tx, mount(one)));
    await expect(run((tx) => createMount(tx, mount(other)))).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("lets none nest when both are made at once", async () => {
    const { begin, run } = await openStore();
    const [outer, inner] = [begin(), begin()];
    await createMount(outer, mount("secret/"));
    await createMount(inner, mount("secret/data/"));
    expect([await outer.commit(), await inner.commit()]).toEqual(["committed", "conflict"]);
    expect((await run(listMounts)).result.map(({ path }) => path)).toEqual(["secret/"]);
  });

  it("lets none nest when the inner one is first", async () => {
    const { begin, run } = await openStore();
    const [outer, inner] = [begin(), begin()];
    await createMount(outer, mount("secret/"));
    await createMount(inner, mount("secret/data/"));
    expect([await inner.commit(), await outer.commit()]).toEqual(["committed", "conflict"]);
    expect((await run(listMounts)).result.map(({ path }) => path)).toEqual(["secret/data/"]);
  });
});
