// Random logs of operations, done on a store and on a model that is a plain map; both must always agree.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareKeys, nameBelow } from "#server/storage/key.ts";
import type { Storage } from "#server/storage/storage.ts";
import { storageVariants, withStorage } from "./fixture.ts";

const RUNS = 40;

const segment = fc.constantFrom("a", "b", "a-", "a0", "é", "😀", "\uffee");
const key = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => segments.join("/"));
const value = fc.option(fc.uint8Array({ maxLength: 40 }), { nil: null });
const operation = fc.oneof(
  fc.record({
    op: fc.constant("commit" as const),
    writes: fc.array(fc.tuple(key, value), { maxLength: 5 }),
    reads: fc.array(fc.record({ key, stale: fc.boolean() }), { maxLength: 4 }),
  }),
  fc.record({
    op: fc.constant("list" as const),
    prefix: fc.constantFrom("", "a/", "b/", "a/b/", "é/"),
    after: fc.option(
      fc.oneof(
        segment,
        segment.map((s) => `${s}/`),
      ),
      { nil: undefined },
    ),
    limit: fc.integer({ min: 1, max: 6 }),
  }),
  fc.record({ op: fc.constant("scan" as const), from: key, to: key, limit: fc.integer({ min: 0, max: 8 }) }),
  fc.record({ op: fc.constant("get" as const), keys: fc.array(key, { maxLength: 5 }) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never;
type OperationOf<Name extends Operation["op"]> = Extract<Operation, { op: Name }>;

/** The specification: what is stored and at which version it was last seen. */
class Model {
  readonly values = new Map<string, Uint8Array>();
  readonly versions = new Map<string, bigint>();
  readonly deleted = new Map<string, bigint>();

  list({ prefix, after, limit }: OperationOf<"list">): string[] {
    const below = this.keys().filter((k) => k.startsWith(prefix) && k !== prefix);
    const names = new Set(below.map((k) => nameBelow(prefix, k)));
    return [...names].filter((name) => after === undefined || compareKeys(name, after) > 0).slice(0, limit);
  }

  scan({ from, to, limit }: OperationOf<"scan">): string[] {
    return this.keys()
      .filter((k) => compareKeys(k, from) >= 0 && compareKeys(k, to) < 0)
      .slice(0, limit);
  }

  keys(): string[] {
    return [...this.values.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }
}

async function commit(storage: Storage, model: Model, { writes, reads }: OperationOf<"commit">): Promise<void> {
  const expected = new Map<string, bigint | undefined>();
  for (const read of reads) {
    const current = model.versions.get(read.key);
    // A version that was once right: the one before, of a key deleted since, or none where there is one now.
    expected.set(read.key, read.stale ? (current === undefined ? model.deleted.get(read.key) : current - 1n) : current);
  }
  const fits = [...expected].every(([k, version]) => model.versions.get(k) === version);
  const batch = new Map(writes);
  expect(await storage.commit({ expected, writes: batch })).toBe(fits ? "committed" : "conflict");
  if (!fits) return;
  for (const [k, v] of batch) {
    const old = model.versions.get(k);
    if (v === null && old !== undefined) model.deleted.set(k, old);
    if (v === null) model.versions.delete(k);
    if (v === null) model.values.delete(k);
    else model.values.set(k, v);
  }
  const entries = await storage.get([...batch.keys()]);
  for (const [i, k] of [...batch.keys()].entries()) {
    const version = entries[i]?.version;
    if (version !== undefined) {
      expect(version).toBeGreaterThan(model.versions.get(k) ?? model.deleted.get(k) ?? -1n);
      model.versions.set(k, version);
    }
  }
}

async function step(storage: Storage, model: Model, next: Operation): Promise<void> {
  if (next.op === "commit") return commit(storage, model, next);
  if (next.op === "scan") return expect(await storage.scan(next)).toEqual(model.scan(next));
  if (next.op === "get") {
    const found = await storage.get(next.keys);
    return expect(found.map((e) => e && [...e.value])).toEqual(next.keys.map((k) => spread(model.values.get(k))));
  }
  const page = next.after === undefined ? { limit: next.limit } : { limit: next.limit, after: next.after };
  return expect(await storage.list(next.prefix, page)).toEqual(model.list(next));
}

const spread = (bytes: Uint8Array | undefined) => bytes && [...bytes];

describe.each(storageVariants)("storage $type", (kind) => {
  it("does what the model does on random logs", (context) =>
    fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 40 }), (log) =>
        withStorage(kind, context, async (storage, reopen) => {
          const model = new Model();
          for (const next of log) await step(storage, model, next);
          if (!kind.durable) return;
          const again = await reopen();
          expect(await again.scan({ from: "", to: "\u{10ffff}", limit: 1000 })).toEqual(model.keys());
        }),
      ),
      { numRuns: RUNS },
    ));
});
