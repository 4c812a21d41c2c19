// The image's builder: what is in the archive, that it runs with nothing else, and that it is the same every time.
// A small program with one import of each kind stands for the real one where the builder is meant; what the real one
// does in its image is for the end-to-end tests.
import { execFileSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseJson } from "#common/json.ts";
import { list, number, object, string } from "#common/schema.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "coffer-image-"));

/** Builds into `folder`/NAME.tar and NAME/ and returns what the script prints: the image's name and digest. */
function build(name: string, umask: string): string {
  const script = `umask ${umask}; exec tools/image/build-image "$@"`;
  const target = ["-o", join(folder, `${name}.tar`), "--root", join(folder, name)];
  const args = [
    "-c",
    script,
    "build-image",
    "--name",
    "coffer/test:1",
    "--entry",
    "test/kit/image/entry.ts",
    ...target,
  ];
  return execFileSync("bash", args, { cwd: REPOSITORY, encoding: "utf8" }).trim();
}

let printed = "";
const root = join(folder, "first");

beforeAll(() => {
  printed = build("first", "022");
});
afterAll(() => rmSync(folder, { recursive: true }));

function member(path: string, archive = "first.tar"): string {
  return execFileSync("tar", ["-xOf", join(folder, archive), `./${path}`], { encoding: "utf8" });
}

const blob = object({ digest: string, size: number });
const index = object({
  manifests: list(object({ digest: string, annotations: object({ "io.containerd.image.name": string }) })),
});
const manifest = object({ config: blob, layers: list(blob) });
const config = object({ config: object({ User: string, Entrypoint: list(string), Env: list(string) }) });

const blobPath = (digest: string) => `blobs/${digest.replace(":", "/")}`;

describe("the archive", () => {
  it("is an OCI layout that names the image, its user and its entrypoint", () => {
    const entry = index.parse(parseJson(member("index.json"))).manifests[0];
    expect(printed).toBe(`docker.io/coffer/test:1 ${entry?.digest}`);
    expect(entry?.annotations["io.containerd.image.name"]).toBe("docker.io/coffer/test:1");
    const described = manifest.parse(parseJson(member(blobPath(entry?.digest ?? ""))));
    expect(described.layers).toHaveLength(2);
    const settings = config.parse(parseJson(member(blobPath(described.config.digest)))).config;
    expect(settings.User).toBe("65532:65532");
    expect(settings.Entrypoint).toEqual([
      "/usr/local/bin/node",
      "--disable-warning=ExperimentalWarning",
      "/app/main.js",
    ]);
    expect(settings.Env).toContain("NODE_ENV=production");
  });

  it("is the same, byte for byte, when it is made again under another umask", { timeout: 60_000 }, () => {
    expect(build("second", "077")).toBe(printed);
    execFileSync("cmp", [join(folder, "first.tar"), join(folder, "second.tar")]);
  });
});

describe("the root file system", () => {
  /** Only root may change the root; elsewhere the program runs where it lies, with the machine's libraries. */
  function run(...args: string[]): string {
    const [command, rest] =
      process.getuid?.() === 0
        ? ["chroot", ["--userspec=65532:65532", root, "/usr/local/bin/node", "/app/main.js"]]
        : [join(root, "usr/local/bin/node"), [join(root, "app/main.js")]];
    return execFileSync(command, [...rest, ...args], {
      encoding: "utf8",
      env: { PATH: "/usr/sbin:/usr/bin:/bin" },
    }).trim();
  }

  it("runs ES modules, CommonJS packages and native addons with nothing else, as another user", () => {
    expect(run()).toBe("SignJWT");
    expect(run("commonjs")).toBe("CloudHSMV2Client function");
    const data = process.getuid?.() === 0 ? "/tmp/data" : join(folder, "data");
    expect(run("native", data)).toBe("kept");
  });

  it("holds no shell and nothing that others may write but /tmp", () => {
    const found = (...condition: string[]) =>
      execFileSync("find", [".", ...condition], { cwd: root, encoding: "utf8" })
        .split("\n")
        .filter(Boolean);
    expect(found("-name", "*sh", "-perm", "-111", "-type", "f")).toEqual([]);
    expect(found("-perm", "-002", "!", "-type", "l", "!", "-path", "./tmp/*")).toEqual(["./tmp"]);
    expect(statSync(join(root, "etc/ssl/certs/ca-certificates.crt")).size).toBeGreaterThan(100_000);
  });

  it("carries one build of a native addon, the one that Node 24 loads", () => {
    const addons = execFileSync("find", [".", "-name", "*.node"], { cwd: root, encoding: "utf8" }).trim().split("\n");
    expect(addons).toHaveLength(1);
    expect(addons[0]).toContain("node.napi.glibc.node");
  });
});

describe("Coffer's own image", () => {
  const own = join(folder, "own");
  beforeAll(() => {
    const args = ["--name", "coffer/own:1", "--root", own, "-o", join(folder, "own.tar")];
    execFileSync("tools/image/build-image", args, { cwd: REPOSITORY });
  });

  it("starts by the helper, so that no core dump is made of it", () => {
    const [entry] = index.parse(parseJson(member("index.json", "own.tar"))).manifests;
    const described = manifest.parse(parseJson(member(blobPath(entry?.digest ?? ""), "own.tar")));
    const { Entrypoint } = config.parse(parseJson(member(blobPath(described.config.digest), "own.tar"))).config;
    expect(Entrypoint.slice(0, 3)).toEqual(["/coffer/helper", "nodump", "/usr/local/bin/node"]);
    expect(Entrypoint.at(-1)).toBe("/app/coffer.js");
    const dockerfile = readFileSync(join(REPOSITORY, "Dockerfile"), "utf8");
    expect(dockerfile).toContain(`ENTRYPOINT [${Entrypoint.map((part) => JSON.stringify(part)).join(", ")}]`);
  });

  it("holds every program there is, each in files of its own, and the helper", () => {
    const files = globSync("app/**/*.js", { cwd: own, exclude: ["app/node_modules"] });
    const holding = (source: string) =>
      files.filter((file) => readFileSync(join(own, file), "utf8").includes(`\n// ${source}\n`));
    for (const main of globSync("src/*/main.ts", { cwd: REPOSITORY }))
      expect([main, holding(main).length]).toEqual([main, 1]);
    expect(holding("src/cli/main.ts")).not.toEqual(holding("src/agent/main.ts"));
    expect(statSync(join(own, "coffer/helper")).mode & 0o777).toBe(0o755);
  });

  it("runs", () => {
    const program = [join(own, "usr/local/bin/node"), join(own, "app/coffer.js")] as const;
    expect(execFileSync(program[0], [program[1], "version"], { encoding: "utf8" })).toMatch(
      /^Coffer v\d+\.\d+\.\d+\n$/,
    );
  });
});
