// One suite over every storage of the registry: single operations, their limits, and what must hold between writers.
import { describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { storageRegistry } from "#server/storage/registry.ts";
import { type Entry, KEY_BYTES_MAX, type Storage, VALUE_BYTES_MAX } from "#server/storage/storage.ts";
import { storageVariants, withStorage } from "./fixture.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (entry: Entry | undefined) => entry && new TextDecoder().decode(entry.value);

async function write(storage: Storage, values: Record<string, string | null>): Promise<void> {
  const writes = new Map(Object.entries(values).map(([k, v]) => [k, v === null ? null : bytes(v)]));
  expect(await storage.commit({ expected: new Map(), writes })).toBe("committed");
}

async function read(storage: Storage, key: string): Promise<Entry | undefined> {
  return (await storage.get([key]))[0];
}

describe.each(storageVariants)("storage $type", (kind) => {
  const test = (name: string, run: (storage: Storage, reopen: () => Promise<Storage>) => Promise<void>) =>
    it(name, (context) => withStorage(kind, context, run));

  test("gives keys back in the order asked for, absent ones as undefined", async (storage) => {
    await write(storage, { a: "1", b: "2", empty: "" });
    const found = await storage.get(["b", "none", "a", "empty", "b"]);
    expect(found.map(textOf)).toEqual(["2", undefined, "1", "", "2"]);
    expect(await storage.get([])).toEqual([]);
  });

  test("versions grow with every commit, also after a delete and for another key", async (storage) => {
    const seen: bigint[] = [];
    for (const [key, value] of [
      ["a", "1"],
      ["b", "1"],
      ["a", "1"],
      ["a", null],
      ["a", "1"],
    ] as const) {
      await write(storage, { [key]: value });
      const entry = await read(storage, key);
      if (entry !== undefined) seen.push(entry.version);
    }
    expect(seen).toHaveLength(4);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => Number(a - b)));
  });

  test("commits all or nothing", async (storage) => {
    await write(storage, { a: "1", b: "1" });
    const version = (await read(storage, "a"))?.version;
    await write(storage, { a: "2" });
    const writes = new Map([
      ["b", bytes("3")],
      ["c", bytes("3")],
      ["a", null],
    ] as const);
    expect(await storage.commit({ expected: new Map([["a", version]]), writes })).toBe("conflict");
    expect((await storage.get(["a", "b", "c"])).map(textOf)).toEqual(["2", "1", undefined]);
  });

  test("holds absence in the read set as it holds versions", async (storage) => {
    const writes = new Map([["a", bytes("1")]]);
    const expected = new Map([["a", undefined]]);
    expect(await storage.commit({ expected, writes })).toBe("committed");
    expect(await storage.commit({ expected, writes })).toBe("conflict");
    await write(storage, { a: null });
    expect(await storage.commit({ expected, writes })).toBe("committed");
  });

  test("checks a read set without writes", async (storage) => {
    await write(storage, { a: "1" });
    const version = (await read(storage, "a"))?.version;
    expect(await storage.commit({ expected: new Map([["a", version]]), writes: new Map() })).toBe("committed");
    expect(await storage.commit({ expected: new Map([["a", undefined]]), writes: new Map() })).toBe("conflict");
  });

  test("keeps what it was given, whatever becomes of the buffer", async (storage) => {
    const value = bytes("mine");
    await storage.commit({ expected: new Map(), writes: new Map([["a", value]]) });
    value.fill(0);
    const entry = await read(storage, "a");
    await read(storage, "none");
    expect(textOf(entry)).toBe("mine");
  });

  test("lists one level, a key and a folder of one name both, folders once", async (storage) => {
    await write(storage, {
      "d/a": "",
      "d/a/1": "",
      "d/a/2/3": "",
      "d/a-b": "",
      "d/a0": "",
      "d/b/c": "",
      e: "",
      d0: "",
    });
    expect(await storage.list("d/", { limit: 10 })).toEqual(["a", "a-b", "a/", "a0", "b/"]);
    expect(await storage.list("", { limit: 10 })).toEqual(["d/", "d0", "e"]);
    expect(await storage.list("d/a/", { limit: 10 })).toEqual(["1", "2/"]);
    expect(await storage.list("none/", { limit: 10 })).toEqual([]);
    expect(await storage.list("d/a/2/3/", { limit: 10 })).toEqual([]);
  });

  test("pages through a listing without gap or repetition, from any name", async (storage) => {
    await write(storage, { "d/a": "", "d/a/1": "", "d/a-b": "", "d/a0/x": "", "d/b/c": "", "d/b/d": "", "d/c": "" });
    const all = await storage.list("d/", { limit: 100 });
    for (const limit of [1, 2, 3]) {
      const pages: string[] = [];
      for (let page = await storage.list("d/", { limit }); page.length > 0; ) {
        pages.push(...page);
        page = await storage.list("d/", { limit, after: page.at(-1) ?? "" });
      }
      expect(pages).toEqual(all);
    }
    expect(await storage.list("d/", { limit: 9, after: "a+" })).toEqual(["a-b", "a/", "a0/", "b/", "c"]);
    expect(await storage.list("d/", { limit: 9, after: "b/c" })).toEqual(["c"]);
    expect(await storage.list("d/", { limit: 0 })).toEqual([]);
  });

  test("scans ranges in order with an exclusive end", async (storage) => {
    await write(storage, { "x/1": "", "x/2": "", "x/2/3": "", "x/4": "", y: "" });
    expect(await storage.scan({ from: "x/", to: "x0", limit: 10 })).toEqual(["x/1", "x/2", "x/2/3", "x/4"]);
    expect(await storage.scan({ from: "x/2", to: "x/4", limit: 10 })).toEqual(["x/2", "x/2/3"]);
    expect(await storage.scan({ from: "", to: "z", limit: 2 })).toEqual(["x/1", "x/2"]);
    expect(await storage.scan({ from: "z", to: "a", limit: 2 })).toEqual([]);
    expect(await storage.scan({ from: "x/", to: "x0", limit: 0 })).toEqual([]);
  });

  test("orders keys by their UTF-8 bytes", async (storage) => {
    const keys = ["\u0001", " ", "Z", "a", "é", "日本", "\uffee", "😀"];
    await write(storage, Object.fromEntries(keys.toReversed().map((key) => [`u/${key}`, key])));
    expect(await storage.list("u/", { limit: 99 })).toEqual(keys);
    expect(textOf(await read(storage, "u/😀"))).toBe("😀");
  });

  test("takes keys and values of the maximum and refuses larger ones without a trace", async (storage) => {
    const longest = "k".repeat(KEY_BYTES_MAX);
    await write(storage, { [longest]: "long" });
    expect(textOf(await read(storage, longest))).toBe("long");
    expect(await storage.list("", { limit: 5 })).toEqual([longest]);
    expect(await storage.list("", { limit: 5, after: longest })).toEqual([]);
    const valueBytesMax = kind.valueBytesMax ?? VALUE_BYTES_MAX;
    const largest = new Uint8Array(valueBytesMax).fill(7);
    await storage.commit({ expected: new Map(), writes: new Map([["v", largest]]) });
    expect((await read(storage, "v"))?.value.length).toBe(valueBytesMax);
    const tooLarge = { code: "too_large" };
    const refused: [string, Uint8Array][] = [
      [`${longest}k`, bytes("")],
      ["é".repeat(KEY_BYTES_MAX / 2 + 1), bytes("")],
      ["v2", new Uint8Array(VALUE_BYTES_MAX + 1)],
    ];
    for (const [key, value] of refused) {
      const writes = new Map([
        ["w", bytes("1")],
        [key, value],
      ]);
      await expect(storage.commit({ expected: new Map(), writes })).rejects.toMatchObject(tooLarge);
      expect(await read(storage, "w")).toBeUndefined();
    }
    await expect(storage.get([`${longest}k`])).rejects.toMatchObject(tooLarge);
  });

  test("refuses keys that no store can hold", async (storage) => {
    for (const key of ["", "\ud800"]) {
      await expect(storage.get([key])).rejects.toMatchObject({ code: "invalid_request" });
      const writes = new Map([[key, bytes("")]]);
      await expect(storage.commit({ expected: new Map(), writes })).rejects.toMatchObject({ code: "invalid_request" });
    }
    await expect(storage.list("a", { limit: 1 })).rejects.toMatchObject({ code: "invalid_request" });
  });

  test("commits many keys at once against as many, all or nothing", async (storage) => {
    const count = 600;
    const names = Array.from({ length: count }, (_, i) => `many/${String(i).padStart(4, "0")}`);
    await write(storage, Object.fromEntries(names.map((name) => [name, "1"])));
    const found = await storage.get(names);
    const expected = new Map(names.map((name, i) => [name, found[i]?.version]));
    const writes = (text: string) => new Map(names.map((name) => [`${name}/${text}`, bytes(text)]));
    expect(await storage.commit({ expected, writes: writes("a") })).toBe("committed");
    await write(storage, { [names.at(-1) ?? ""]: "2" });
    expect(await storage.commit({ expected, writes: writes("b") })).toBe("conflict");
    expect(await storage.commit({ expected, writes: new Map() })).toBe("conflict");
    const after = await storage.get(names.flatMap((name) => [`${name}/a`, `${name}/b`]));
    expect(after.map(textOf)).toEqual(names.flatMap(() => ["a", undefined]));
    expect(await storage.scan({ from: "many/", to: "many0", limit: 5000 })).toHaveLength(2 * count);
    expect(await storage.list("many/", { limit: 5000 })).toEqual(names.flatMap((n) => [n.slice(5), `${n.slice(5)}/`]));
  });

  test("loses no update of writers that contend for one key", async (storage) => {
    const [writers, rounds] = [8, 25];
    const increment = async (): Promise<void> => {
      for (;;) {
        const entry = await read(storage, "counter");
        const value = bytes(String(Number(textOf(entry) ?? "0") + 1));
        const expected = new Map([["counter", entry?.version]]);
        if ((await storage.commit({ expected, writes: new Map([["counter", value]]) })) === "committed") return;
      }
    };
    const work = Array.from({ length: writers }, async () => {
      for (let i = 0; i < rounds; i++) await increment();
    });
    await Promise.all(work);
    expect(textOf(await read(storage, "counter"))).toBe(String(writers * rounds));
  });

  test("lets exactly one of many claim an absent key", async (storage) => {
    const claim = (name: string) =>
      storage.commit({ expected: new Map([["lock", undefined]]), writes: new Map([["lock", bytes(name)]]) });
    const results = await Promise.all(Array.from({ length: 16 }, (_, i) => claim(`w${i}`)));
    expect(results.filter((result) => result === "committed")).toHaveLength(1);
  });

  test("answers unavailable after close, and closes twice", async (storage) => {
    await storage.close();
    await storage.close();
    await expect(storage.get(["a"])).rejects.toMatchObject({ code: "unavailable" });
    await expect(storage.commit({ expected: new Map(), writes: new Map() })).rejects.toMatchObject({
      code: "unavailable",
    });
  });

  if (kind.durable) {
    test("keeps entries and versions over a restart, and goes on counting", async (storage, reopen) => {
      await write(storage, { a: "1", b: "2" });
      await write(storage, { b: null });
      const before = await read(storage, "a");
      const again = await reopen();
      expect(await read(again, "a")).toEqual(before);
      expect(await read(again, "b")).toBeUndefined();
      await write(again, { b: "3" });
      expect((await read(again, "b"))?.version).toBeGreaterThan((before?.version ?? 0n) + 1n);
    });
  }
});

describe("the registry", () => {
  it("names every kind and alias once", () => {
    const names = storageRegistry.flatMap((kind) => [kind.type, ...kind.aliases]);
    expect(new Set(names).size).toBe(names.length);
  });

  it("refuses a configuration that misses what a kind needs, naming it", async () => {
    const lmdb = storageRegistry.find((kind) => kind.type === "lmdb");
    const failure = { code: "invalid_request", message: expect.stringContaining("storage.path") };
    await expect(lmdb?.open({}, { log: silentLog, clock: systemClock })).rejects.toMatchObject(failure);
  });
});
