// The quick form of the benchmark, so that it never rots and every run of the tests shows the ratios. How fast the
// machine is decides nothing here.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const BENCH = join(import.meta.dirname, "../../bench/main.ts");
const run = (...argv: string[]) => promisify(execFile)(process.execPath, [BENCH, ...argv]);

describe("the benchmark", () => {
  it("measures a server beside its limits", async () => {
    const { stdout } = await run("-quick");
    console.log(stdout);
    const names = stdout.split("\n").map((line) => line.split(/\s{2,}/)[0]?.trim());
    const limits = ["bare GET", "bare POST", "necessary read", "lmdb commit"];
    expect(names).toEqual(expect.arrayContaining([...limits, "kv2-read", "kv2-write"]));
    const write = stdout
      .split("\n")
      .find((line) => line.startsWith("kv2-write"))
      ?.trim();
    // Of the bare responder, of the raw storage, and the processor time as a multiple.
    expect(write).toMatch(/\d %\s+\d+ %\s+[\d.]+x$/);
  });

  it("runs every workload", async () => {
    const { stdout } = await run("-seconds=0.1", "-workers=2");
    console.log(stdout);
    expect(stdout).toMatch(/^token-create-revoke +2 +\d+ /m);
    expect(stdout).toMatch(/^userpass +2 +\d+ /m);
  });

  it("names what it does not know", async () => {
    await expect(run("-workloads=tea")).rejects.toThrow(/cannot use -workloads=tea/);
  });
});
