// Checks that a program in another language runs against a server and prints, one line of JSON each: {"check": name,
// "error": "" or what was wrong}. Makes a test of each. The names are read from the program's sources, so that a check
// which never ran fails. Without the language's runtime the tests are skipped, but fail where CI is true.
import { execFile } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messageOf } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { object, string } from "#common/schema.ts";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";

/** The programs need some seconds; a machine that runs all tests at once may take much longer. */
const RUN_MILLIS_MAX = 100_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
const printedLine = object({ check: string, error: string });
const run = promisify(execFile);

export interface CheckProgram {
  /** The client and its version. */
  readonly title: string;
  readonly folder: string;
  /** Its sources in the folder, as a glob. */
  readonly sources: string;
  /** Finds the checks in them; the first group is a name. */
  readonly check: RegExp;
  /** Installs or builds it and gives its command line; fails, with the reason, when it cannot be had. */
  prepare(environment: NodeJS.ProcessEnv): Promise<readonly [string, ...string[]]>;
}

/** Declares a test for each check of the program. */
export function testPrintedChecks(program: CheckProgram, environment: NodeJS.ProcessEnv): void {
  const names = checksIn(program);
  describe(program.title, () => {
    let server: ShamirServer | undefined;
    let outcomes: ReadonlyMap<string, string> | undefined;
    beforeAll(async () => {
      const command = await prepared(program, environment);
      if (!command) return;
      server = await startShamirServer();
      outcomes = await runChecks(command, server, environment);
    });
    afterAll(() => server?.stop());

    it.for(names)("%s", (name, test) => {
      if (!outcomes) return test.skip();
      expect(outcomes.get(name), outcomes.get(name)).toBe("");
    });
    it("has a test for every check that it ran, and no name twice", (test) => {
      if (!outcomes) return test.skip();
      expect([...outcomes.keys()].sort()).toEqual([...names].sort());
    });
  });
}

function checksIn({ folder, sources, check }: CheckProgram): string[] {
  const files = globSync(sources, { cwd: folder }).sort();
  return files.flatMap((file) =>
    [...readFileSync(join(folder, file), "utf8").matchAll(check)].map((found) => found[1] ?? ""),
  );
}

async function prepared(program: CheckProgram, environment: NodeJS.ProcessEnv) {
  try {
    return await program.prepare(environment);
  } catch (error) {
    const reason = `${program.title} could not be installed: ${messageOf(error)}`;
    if (environment["CI"] === "true") throw new Error(reason, { cause: error });
    console.warn(`skipped: ${reason}`);
    return undefined;
  }
}

async function runChecks(
  [file, ...args]: readonly [string, ...string[]],
  server: ShamirServer,
  environment: NodeJS.ProcessEnv,
): Promise<ReadonlyMap<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), "coffer-client-"));
  const env = {
    PATH: environment["PATH"] ?? "",
    HOME: folder,
    COFFER_TEST_ADDRESS: server.address,
    COFFER_TEST_ROOT_TOKEN: server.rootToken,
    COFFER_TEST_UNSEAL_KEY: server.unsealKey,
    COFFER_TEST_FOLDER: folder,
  };
  try {
    const { stdout } = await run(file, args, { env, timeout: RUN_MILLIS_MAX, maxBuffer: OUTPUT_BYTES_MAX });
    const lines = stdout.split("\n").filter((each) => each !== "");
    return new Map(lines.map((text) => printedLine.parse(parseJson(text))).map(({ check, error }) => [check, error]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
