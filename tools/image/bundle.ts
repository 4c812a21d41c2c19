// Bundles one entry of the program into a folder that runs with nothing but Node: `node tools/image/bundle.ts
// --entry src/cli/main.ts --out DIR [--name coffer]`. Each dynamic import becomes a file of its own, so that the
// agent never loads the server. Packages with native code are copied beside the bundle, only the files that Node loads.
// The result depends on the sources alone: same input, same bytes.
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";

const REPOSITORY = resolve(import.meta.dirname, "../..");

/** Packages that load a native addon by its path, so they stay folders; absent ones are left out. */
const NATIVE_PACKAGES = ["lmdb", "pkcs11js"];

/** Not loaded at run time: headers for compiling, and an accelerator for values that Coffer does not store. */
const LEFT_OUT = ["node-addon-api", "msgpackr-extract"];

/** CommonJS packages ask for Node's own modules by `require`, which an ES module does not have. */
const BANNER =
  'import { createRequire as cofferRequire } from "node:module"; const require = cofferRequire(import.meta.url);';

interface Manifest {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

/** The folders of the packages in `names` and of all they depend on, as installed for this platform. */
function packageFolders(names: readonly string[], found = new Set<string>()): Set<string> {
  for (const name of names) {
    const folder = join(REPOSITORY, "node_modules", name);
    if (LEFT_OUT.includes(name) || found.has(folder) || !existsSync(folder)) continue;
    found.add(folder);
    const { dependencies, optionalDependencies } = manifestOf(folder);
    packageFolders(Object.keys({ ...dependencies, ...optionalDependencies }), found);
  }
  return found;
}

/** Which addon files Node 24 on glibc loads: Node-API builds. Those for one V8 version or for musl are never chosen;
 * what a compiler left behind is not either. */
function isLoaded(file: string): boolean {
  if (file.endsWith(".node")) return !/\babi\d+\b|\bmusl\b|obj\.target/.test(file);
  const isCode = /\.(js|cjs|mjs)$/.test(file) || file.endsWith("package.json") || /^licen[cs]e/i.test(file);
  return isCode && !/^(benchmarks?|tests?|examples?|dependencies|src|bin)\//.test(file) && !/rollup\.config/.test(file);
}

function copyPackages(names: readonly string[], out: string): void {
  for (const folder of [...packageFolders(names)].sort()) {
    for (const file of globSync("**/*", { cwd: folder }).filter(isLoaded).sort()) {
      const target = join(out, relative(REPOSITORY, folder), file);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join(folder, file), target);
    }
  }
}

/**
 * With code splitting, esbuild gives `await import()` of a CommonJS package nothing but a default export, where Node
 * gives its names too. This puts a module in between that exports what Node itself finds in the package.
 */
const namesOfCommonJs: Plugin = {
  name: "names-of-commonjs",
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /^[^.#/]/ }, async ({ path, kind, resolveDir, pluginData }) => {
      if (kind !== "dynamic-import" || pluginData === "resolved" || isBuiltin(path)) return undefined;
      const found = await resolve(path, { kind, resolveDir, pluginData: "resolved" });
      if (found.external || found.errors.length > 0) return found;
      const names = Object.keys(await import(found.path));
      // Node's own mark of a CommonJS module's namespace.
      if (!names.includes("module.exports")) return found;
      return { path: found.path, namespace: "commonjs", pluginData: names };
    });
    onLoad({ filter: /.*/, namespace: "commonjs" }, ({ path, pluginData }) => {
      const names: string[] = pluginData;
      const plain = names.filter((name) => /^[\p{L}_$][\w$]*$/u.test(name) && name !== "default");
      // By way of another name, because `static` may be exported but not declared.
      const exported = plain.map((name, i) => `const n${i} = all.${name}; export { n${i} as ${name} };`);
      const file = JSON.stringify(path);
      return {
        contents: [`const all = require(${file});`, "export default all;", ...exported].join("\n"),
        resolveDir: REPOSITORY,
      };
    });
  },
};

/** Returns the native packages that the bundle imports. */
async function bundle(entry: string, out: string, name: string): Promise<string[]> {
  rmSync(out, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: REPOSITORY,
    entryPoints: [{ in: entry, out: name }],
    outdir: out,
    bundle: true,
    metafile: true,
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
    format: "esm",
    platform: "node",
    target: "node24",
    // Only the conditions that Node itself has, so that the image runs the same files as the sources do.
    conditions: [],
    external: NATIVE_PACKAGES,
    banner: { js: BANNER },
    plugins: [namesOfCommonJs],
    legalComments: "external",
    logLevel: "warning",
  });
  const { version } = manifestOf(REPOSITORY);
  writeFileSync(join(out, "package.json"), `${JSON.stringify({ name: "coffer", version, type: "module" })}\n`);
  const imported = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  return NATIVE_PACKAGES.filter((native) => imported.includes(native));
}

const { values } = parseArgs({
  options: { entry: { type: "string" }, out: { type: "string" }, name: { type: "string", default: "coffer" } },
});
if (!values.entry || !values.out) {
  console.error("usage: node tools/image/bundle.ts --entry FILE --out DIR [--name NAME]");
  process.exit(2);
}
const out = resolve(values.out);
copyPackages(await bundle(values.entry, out, values.name), out);
