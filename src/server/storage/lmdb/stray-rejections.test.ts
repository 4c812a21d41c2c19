import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const MODULE = join(import.meta.dirname, "stray-rejections.ts");

/** Runs a program that has the guard; vitest has a handler of its own in this process. */
function run(code: string) {
  const program = `import { takeStrayRejections } from ${JSON.stringify(MODULE)};\n${code}`;
  return spawnSync(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", program], {
    encoding: "utf8",
  });
}

describe("rejections that are nobody's", () => {
  /** The cause comes a moment later, as from lmdb-js. */
  const OF_COMMIT = `Object.assign(new Error("Commit failed"), {
    commitError: new Promise((_, reject) => setTimeout(() => reject(new Error("EIO")), 5)),
  })`;

  it("of a failed commit do not end the process", () => {
    const { status, stdout } = run(`takeStrayRejections();
      Promise.reject(${OF_COMMIT});
      setTimeout(() => console.log("alive"), 20);`);
    expect([status, stdout]).toEqual([0, "alive\n"]);
  });

  it("of anything else do, and when the guard is gone all", () => {
    expect(run('takeStrayRejections(); Promise.reject(new Error("other"));').stderr).toContain("Error: other");
    expect(run('takeStrayRejections(); Promise.reject(new Error("other"));').status).not.toBe(0);
    expect(run(`takeStrayRejections()[Symbol.dispose](); Promise.reject(${OF_COMMIT});`).status).not.toBe(0);
  });
});
