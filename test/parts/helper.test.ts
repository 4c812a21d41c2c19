// The static helper as a program: compiled by this machine's compiler as the image does it, then run on files in a
// temporary folder. What its subcommands promise is in the head of src/helper/helper.c.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const REPOSITORY = join(import.meta.dirname, "../..");
const FILE_BYTES_MAX = 1024 * 1024;
const RECORD_BYTES_MAX = 128 * 1024;

const folder = mkdtempSync(join(tmpdir(), "coffer-helper-"));
const helper = join(folder, "helper");

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

function run(args: readonly string[], env: Record<string, string> = { PATH: "/usr/bin:/bin" }): Outcome {
  const { status, stdout, stderr } = spawnSync(helper, args, { env, encoding: "utf8", maxBuffer: 8 * 1024 * 1024 });
  return { code: status, out: stdout, err: stderr };
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

beforeAll(() => {
  execFileSync(join(REPOSITORY, "tools/image/build-helper"), [helper], { stdio: ["ignore", "inherit", "inherit"] });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the program", () => {
  it("is static, so that it runs in any container", () => {
    const bytes = readFileSync(helper);
    expect(bytes.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    expect(bytes.includes("ld-linux")).toBe(false);
    expect(bytes.includes("ld-musl")).toBe(false);
  });

  it.for([
    [],
    ["ready"],
    ["ready", "a", "b"],
    ["copy"],
    ["exec", "file"],
    ["exec", "--", "env"],
    ["exec", "f", "--"],
    ["nodump"],
    ["x", "y"],
  ])("refuses wrong usage: %j", (args) => {
    const { code, err } = run(args);
    expect(code).toBe(2);
    expect(err).toContain("usage: helper ready FILE | copy DST | exec ENVFILE... -- CMD ARG... | nodump CMD ARG...");
  });
});

describe("nodump", () => {
  it("becomes the command, which can leave no core dump and cannot change that", () => {
    const { code, out } = run([
      "nodump",
      "/bin/sh",
      "-c",
      "grep core /proc/self/limits; ulimit -c unlimited 2>/dev/null; grep core /proc/self/limits; exit 7",
    ]);
    expect(code).toBe(7);
    const limits = out.trimEnd().split("\n");
    expect(limits[0]).toMatch(/^Max core file size +[01] +[01] +bytes +$/);
    // Root may raise limits again; an ordinary user and the image's may not.
    if (process.getuid?.() !== 0) expect(limits[1]).toBe(limits[0]);
  });

  it("leaves no core file where another process leaves one", (test) => {
    const crash = (name: string, ...start: readonly string[]) => {
      const cwd = mkdtempSync(join(folder, name));
      const [command = "", ...args] = [...start, "/bin/sh", "-c", "kill -SEGV $$"];
      spawnSync(command, args, { cwd });
      return readdirSync(cwd);
    };
    // Where this machine makes no core files, there is nothing to be seen.
    if (crash("plain-", "/bin/sh", "-c", 'ulimit -c unlimited; exec "$0" "$@"').length === 0) return test.skip();
    expect(crash("nodump-", "/bin/sh", "-c", 'ulimit -c unlimited; exec "$0" "$@"', helper, "nodump")).toEqual([]);
  });

  it("says what it could not start", () => {
    expect(run(["nodump", "no-such-command"])).toMatchObject({ code: 127, err: expect.stringContaining("not found") });
    expect(run(["nodump", "/"])).toMatchObject({ code: 126, err: expect.stringContaining("nodump: /: ") });
  });
});

describe("ready", () => {
  it("tells by its exit code whether the file exists", () => {
    expect(run(["ready", join(folder, "not-yet")])).toEqual({ code: 1, out: "", err: "" });
    expect(run(["ready", file("now", "")])).toEqual({ code: 0, out: "", err: "" });
  });
});

describe("copy", () => {
  it("puts an executable copy of itself at the target, over what was there", () => {
    const target = file("copied", "older");
    chmodSync(target, 0o600);
    expect(run(["copy", target])).toEqual({ code: 0, out: "", err: "" });
    expect(readFileSync(target).equals(readFileSync(helper))).toBe(true);
    expect(statSync(target).mode & 0o777).toBe(0o755);
  });

  it("says which file it cannot write", () => {
    const target = join(folder, "no-such-folder/helper");
    expect(run(["copy", target])).toMatchObject({
      code: 126,
      err: expect.stringContaining(`${target}.partial: No such file or directory`),
    });
  });
});

describe("exec", () => {
  it("adds the variables of every file, the last one wins, and passes arguments on", () => {
    const first = file("first", "A=1\0B=two words\nand a line\0EMPTY=\0");
    const second = file("second", "A=later=with=equals\0");
    const env = { PATH: "/usr/bin:/bin", B: "older", KEPT: "yes" };
    const { code, out } = run(["exec", first, second, "--", "env", "-0"], env);
    expect(code).toBe(0);
    expect(out.split("\0").sort()).toEqual(
      ["", "A=later=with=equals", "B=two words\nand a line", "EMPTY=", "KEPT=yes", "PATH=/usr/bin:/bin"].sort(),
    );
    const shell = ["sh", "-c", 'printf "%s|" "$0" "$@"; exit 7', "zero", "a b", "--", ""];
    expect(run(["exec", first, "--", ...shell])).toMatchObject({ code: 7, out: "zero|a b|--||" });
  });

  it("passes an empty file and values that are not UTF-8", () => {
    const path = join(folder, "bytes");
    writeFileSync(path, Buffer.from("RAW=\xff\xfe\0", "latin1"));
    const { stdout } = spawnSync(helper, ["exec", file("nothing", ""), path, "--", "printenv", "RAW"]);
    expect(stdout.toString("latin1")).toBe("\xff\xfe\n");
  });

  it("finds the command in the PATH that the file sets", () => {
    const tool = file("my-tool", "#!/bin/sh\necho found\n");
    chmodSync(tool, 0o755);
    const env = file("path", `PATH=${folder}:/usr/bin:/bin\0`);
    expect(run(["exec", env, "--", "my-tool"])).toMatchObject({ code: 0, out: "found\n" });
  });

  it("exits with 127 for a command that does not exist, with 126 for one that cannot be run", () => {
    const env = file("some", "A=1\0");
    expect(run(["exec", env, "--", "no-such-command"])).toEqual({
      code: 127,
      out: "",
      err: "coffer-helper: exec: no-such-command: command not found\n",
    });
    expect(run(["exec", env, "--", join(folder, "none/x")]).code).toBe(127);
    expect(run(["exec", env, "--", folder])).toMatchObject({ code: 126, err: expect.stringContaining("denied") });
  });

  it.for([
    ["A=s3cret", "does not end with a NUL byte"],
    ["A=1\0s3cret\0", "record 2 is not NAME=value"],
    ["=s3cret\0", "record 1 is not NAME=value"],
    ["A=1\0\0", "record 2 is not NAME=value"],
    ["A B=s3cret\0", "the name of record 1 holds a byte that is no printable ASCII"],
  ] as const)("refuses the malformed file %j and shows no value", ([content, message]) => {
    const { code, out, err } = run(["exec", file("malformed", content), "--", "env"]);
    expect(code).toBe(126);
    expect(out).toBe("");
    expect(err).toContain(message);
    expect(err).not.toContain("s3cret");
  });

  it("says that a file is missing", () => {
    const { code, err } = run(["exec", join(folder, "missing"), "--", "env"]);
    expect(code).toBe(126);
    expect(err).toContain(`cannot read ${folder}/missing: No such file or directory`);
  });
});

describe("limits", () => {
  const record = (bytes: number) => `LARGE=${"x".repeat(bytes - "LARGE=\0".length)}\0`;

  it("passes a variable as large as Linux allows, and names one that is a byte larger", () => {
    const fits = run(["exec", file("fits", record(RECORD_BYTES_MAX)), "--", "printenv", "LARGE"]);
    expect(fits.code).toBe(0);
    expect(fits.out.length).toBe(RECORD_BYTES_MAX - "LARGE=".length);
    const over = run(["exec", file("over", record(RECORD_BYTES_MAX + 1)), "--", "printenv", "LARGE"]);
    expect(over).toMatchObject({
      code: 126,
      err: expect.stringContaining("variable LARGE is larger than 131072 bytes"),
    });
    expect(over.err.length).toBeLessThan(300);
  });

  it("reads a file of 1 MiB, and refuses one that is a byte larger", () => {
    const lines = "A=1234567890123\0".repeat(FILE_BYTES_MAX / 16);
    expect(run(["exec", file("full", lines), "--", "printenv", "A"])).toMatchObject({
      code: 0,
      out: "1234567890123\n",
    });
    const over = run(["exec", file("overfull", `${lines}\0`), "--", "printenv", "A"]);
    expect(over).toMatchObject({ code: 126, err: expect.stringContaining("is larger than 1048576 bytes") });
  });

  it("holds 8192 variables, and refuses one more", () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `V${i}=1\0`).join("");
    expect(run(["exec", file("many", many(8191)), "--", "printenv", "V8190"])).toMatchObject({ code: 0, out: "1\n" });
    const over = run(["exec", file("too-many", many(8192)), "--", "printenv", "V1"]);
    expect(over).toMatchObject({ code: 126, err: expect.stringContaining("more than 8192 variables") });
  });
});
