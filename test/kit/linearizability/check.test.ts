import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkHistory, isLinearizable } from "./check.ts";
import type { Operation } from "./operation.ts";
import { DONE, found, MISMATCH, NOTHING_FOUND, type RegisterInput, register, written } from "./register.ts";

type Step = Operation<RegisterInput>;

const step = (begin: number, end: number, input: RegisterInput, output: string | undefined, client = "c"): Step => ({
  ...{ client, key: "k", input, output, begin, end: output === undefined ? Infinity : end },
});
const read = (begin: number, end: number, output: string) => step(begin, end, { op: "read" }, output);
const write = (begin: number, end: number, value: string, version?: number) =>
  step(begin, end, { op: "write", value }, version === undefined ? undefined : written(version));
const cas = (begin: number, end: number, version: number, value: string, output?: string) =>
  step(begin, end, { op: "cas", version, value }, output);
const value = (version: number, text?: string) => found({ version, value: text });

const good: Record<string, Step[]> = {
  "nothing happened": [],
  "one after the other": [
    write(0, 1, "a", 1),
    read(2, 3, value(1, "a")),
    write(4, 5, "b", 2),
    read(6, 7, value(2, "b")),
  ],
  "a read beside a write sees either": [
    write(0, 1, "a", 1),
    write(2, 9, "b", 2),
    read(3, 4, value(1, "a")),
    read(5, 6, value(2, "b")),
  ],
  "writes beside each other take either order": [write(0, 9, "a", 2), write(1, 8, "b", 1), read(10, 11, value(2, "a"))],
  "a write of unknown outcome that happened late": [
    write(0, 1, "a", 1),
    write(2, 0, "b"),
    read(3, 4, value(1, "a")),
    read(5, 6, value(2, "b")),
  ],
  "a write of unknown outcome that never happened": [write(0, 0, "a"), read(1, 2, NOTHING_FOUND), write(3, 4, "b", 1)],
  "check-and-set: one wins": [cas(0, 5, 0, "a", written(1)), cas(0, 5, 0, "b", MISMATCH), read(6, 7, value(1, "a"))],
  "check-and-set of unknown outcome that lost": [cas(0, 0, 0, "a"), write(1, 2, "b", 1), read(9, 10, value(1, "b"))],
  "deleted and written again": [
    write(0, 1, "a", 1),
    step(2, 3, { op: "delete" }, DONE),
    read(4, 5, value(1)),
    cas(6, 7, 1, "b", written(2)),
    step(8, 9, { op: "purge" }, DONE),
    read(10, 11, NOTHING_FOUND),
    cas(12, 13, 0, "c", written(1)),
  ],
};

const bad: Record<string, Step[]> = {
  "a stale read": [write(0, 1, "a", 1), write(2, 3, "b", 2), read(4, 5, value(1, "a"))],
  "a read that goes back": [
    write(0, 1, "a", 1),
    write(2, 20, "b", 2),
    read(3, 4, value(2, "b")),
    read(5, 6, value(1, "a")),
  ],
  "a lost update": [write(0, 1, "a", 1), write(2, 3, "b", 2), write(4, 5, "c", 2)],
  "an acknowledged write that is gone": [write(0, 1, "a", 1), read(2, 3, NOTHING_FOUND)],
  "a value that was never written": [write(0, 1, "a", 1), read(2, 3, value(1, "x"))],
  "a value from the future": [read(0, 1, value(1, "a")), write(2, 3, "a", 1)],
  "two check-and-sets at one version": [
    write(0, 1, "a", 1),
    cas(2, 9, 1, "b", written(2)),
    cas(2, 9, 1, "c", written(2)),
  ],
  "a check-and-set refused although nobody was in the way": [write(0, 1, "a", 1), cas(2, 3, 1, "b", MISMATCH)],
  "a check-and-set that was refused and happened": [cas(0, 1, 1, "a", MISMATCH), read(2, 3, value(1, "a"))],
  "a write of unknown outcome that happened twice": [
    write(0, 0, "a"),
    read(1, 2, value(1, "a")),
    read(3, 4, value(2, "a")),
  ],
  "a deleted value that comes back": [
    write(0, 1, "a", 1),
    step(2, 3, { op: "delete" }, DONE),
    read(4, 5, value(1)),
    read(6, 7, value(1, "a")),
  ],
};

describe("the check of histories", () => {
  it.each(Object.entries(good))("accepts: %s", (_name, history) => {
    expect(checkHistory(history, register).violations).toEqual([]);
  });

  it.each(Object.entries(bad))("refuses: %s", (_name, history) => {
    expect(checkHistory(history, register).violations).toHaveLength(1);
  });

  it("looks at each key for itself", () => {
    const elsewhere = (history: Step[]) => history.map((operation) => ({ ...operation, key: "other" }));
    const stale = bad["a stale read"] ?? [];
    const history = [...(good["one after the other"] ?? []), ...elsewhere(stale)];
    const { operations, violations } = checkHistory(history, register);
    expect(operations).toBe(history.length);
    expect(violations).toEqual([expect.stringContaining("key other")]);
  });

  it("shows the impossible answer, where the register stood, and nothing else", () => {
    const history = [
      ...Array.from({ length: 50 }, (_, i) => write(i * 10, i * 10 + 5, `old${i}`, i + 1)),
      ...Array.from({ length: 50 }, (_, i) => read(i * 10 + 6, i * 10 + 7, value(i + 1, `old${i}`))),
      write(600, 604, "new", 51),
      read(602, 603, value(51, "new")),
      read(605, 606, value(50, "old49")),
      write(700, 701, "later", 52),
    ];
    expect(checkHistory(history, register).violations).toEqual([
      [
        "key k: no order of the operations explains the answers",
        '  at first: v51 "new"',
        '  605.000-606.000    c: read -> v50 "old49"   <- impossible',
      ].join("\n"),
    ]);
  });

  it("names operations of unknown outcome that may still happen", () => {
    const history = [write(0, 1, "a", 1), write(2, 0, "b"), read(3, 4, value(1, "a")), read(5, 6, value(2, "c"))];
    expect(checkHistory(history, register).violations[0]).toContain('write "b" -> unknown');
  });

  it("decides long histories with many writers at once", () => {
    const history: Step[] = [];
    for (let round = 0; round < 300; round++)
      for (let writer = 0; writer < 6; writer++)
        history.push(write(round * 10, round * 10 + 9, `${round}/${writer}`, round * 6 + 6 - writer));
    expect(isLinearizable(history, register)).toBe(true);
  });
});

describe("the search", () => {
  const input = fc.oneof(
    fc.constant<RegisterInput>({ op: "read" }),
    fc.constantFrom("a", "b").map((text): RegisterInput => ({ op: "write", value: text })),
    fc.integer({ min: 0, max: 2 }).map((version): RegisterInput => ({ op: "cas", version, value: "c" })),
    fc.constant<RegisterInput>({ op: "delete" }),
    fc.constant<RegisterInput>({ op: "purge" }),
  );
  const plausible = ({ op }: RegisterInput): readonly string[] => {
    if (op === "read") return [NOTHING_FOUND, value(1, "a"), value(1, "b"), value(2, "c"), value(1), value(2, "a")];
    if (op === "write") return [written(1), written(2)];
    return op === "cas" ? [written(1), written(2), MISMATCH] : [DONE];
  };
  const operation = fc
    .record({ input, begin: fc.integer({ min: 0, max: 12 }), length: fc.integer({ min: 0, max: 6 }), pick: fc.nat() })
    .map(({ input: what, begin, length, pick }) => {
      const answers = [undefined, ...plausible(what), ...plausible(what)];
      return step(begin, begin + length, what, answers[pick % answers.length]);
    });

  it("agrees with trying every order", () => {
    let [accepted, refused] = [0, 0];
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 5 }), (history) => {
        const expected = someOrderExplains(history);
        if (expected) accepted++;
        else refused++;
        expect(isLinearizable(history, register)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
    // Both answers are common among them, or this would prove little.
    expect(Math.min(accepted, refused)).toBeGreaterThan(200);
  });
});

/** By the definition: some order of all answered operations and some of the others that keeps to time. */
function someOrderExplains(history: readonly Step[], state = register.initial): boolean {
  if (history.every(({ output }) => output === undefined)) return true;
  return history.some((next, i) => {
    const rest = history.filter((_, other) => other !== i);
    if (rest.some(({ output, end }) => output !== undefined && end < next.begin)) return false;
    const { state: after, output } = register.apply(state, next.input);
    if (next.output === undefined) return someOrderExplains(rest, after) || someOrderExplains(rest, state);
    return output === next.output && someOrderExplains(rest, after);
  });
}
