import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { blocks, documentAt, ROOT } from "./markdown.ts";

const run = promisify(execFile);
const [start = "", use = ""] = blocks(documentAt("README.md"), "sh");
const DEFAULT_ADDRESS = "http://127.0.0.1:8200";
const START_MILLIS_MAX = 15_000;

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
if (!hasCurl) {
  if (process.env["CI"] === "true") throw new Error("curl is not installed: apt-get install curl");
  console.log("skipped: the README's commands need curl, which is not installed");
}

/** Where the commands run: the program as in the repository, the data apart from it. */
const folder = mkdtempSync(join(tmpdir(), "coffer-readme-"));
let server: ChildProcess | undefined;
let address = "";

/** The address that the banner prints once the server is ready. */
function announced(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    const fail = () => reject(new Error(`the server did not come up: ${output}`));
    const timer = setTimeout(fail, START_MILLIS_MAX);
    child.once("exit", fail);
    const look = (chunk: Buffer) => {
      output += chunk.toString("utf8");
      const found = /VAULT_ADDR='([^']+)'/.exec(output)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout?.on("data", look);
    child.stderr?.on("data", look);
  });
}

beforeAll(async () => {
  symlinkSync(join(ROOT, "bin"), join(folder, "bin"));
  const args = ["server", "-dev", "-dev-storage=.coffer-dev", "-dev-listen-address=127.0.0.1:0"];
  server = spawn(join(ROOT, "bin/coffer"), args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  address = await announced(server);
});

afterAll(async () => {
  if (server && server.exitCode === null) {
    const ended = new Promise((resolve) => server?.once("exit", resolve));
    server.kill("SIGTERM");
    await ended;
  }
  rmSync(folder, { recursive: true });
});

describe("the README's first minute", () => {
  it("starts what npm start starts, which keeps its data where the commands look for the token", async () => {
    expect(start.trim()).toBe("npm ci && npm start");
    const { stdout } = await run("npm", ["pkg", "get", "scripts.start"], { cwd: ROOT });
    expect(stdout).toContain("bin/coffer server -dev -dev-storage=.coffer-dev");
  });

  it.skipIf(!hasCurl)("writes a secret and reads it back", async () => {
    const script = use.replaceAll(DEFAULT_ADDRESS, address);
    expect(script).toContain(address);
    const { PATH = "" } = process.env;
    const { stdout } = await run("sh", ["-euc", script], { cwd: folder, env: { PATH, HOME: folder } });
    expect(stdout).toMatch(/"data":\{"data":\{"password":"swordfish"\}/);
    expect(stdout).toMatch(/password +swordfish/);
    expect(stdout).toMatch(/Sealed +false/);
  });
});
