// What a request of each kind allocates on the heap, the test's own core included: a number that no clock has a say in,
// for it is the collector that makes slow requests slow. It varies by some hundredths between runs. When a row fails,
// change it only on purpose, and say why in the commit; `node --heap-prof` tells where it comes from.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { map, number } from "#common/schema.ts";

/** Bytes, with Node 24. */
const EXPECTED: Readonly<Record<string, number>> = {
  "seal status": 27_500,
  "KV v1 read": 76_500,
  "KV v2 read": 85_200,
  "KV v2 write": 122_000,
  "token lookup-self": 89_000,
  "AppRole login, batch token": 130_500,
};
const TOLERANCE = 0.08;
/** A young generation that holds all that is measured, so that nothing is collected meanwhile. */
const FLAGS = ["--expose-gc", "--min-semi-space-size=128", "--max-semi-space-size=128"];
const PROGRAM = join(import.meta.dirname, "allocations-program.ts");

it("allocates as much for a request of each kind as the table says", { timeout: 120_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--disable-warning=ExperimentalWarning",
    ...FLAGS,
    PROGRAM,
  ]);
  const measured = map(number).parse(JSON.parse(stdout), "allocations");
  expect(Object.keys(measured)).toEqual(Object.keys(EXPECTED));
  const off = Object.entries(EXPECTED).filter(([name, bytes]) => {
    const ratio = (measured[name] ?? 0) / bytes;
    return ratio < 1 - TOLERANCE || ratio > 1 + TOLERANCE;
  });
  expect(off, `measured: ${JSON.stringify(measured)}`).toEqual([]);
});
