// The house rules that neither the compiler nor the linter knows: layers, sizes, names, head comments, and what only some
// places may do. Pure over what tools/tidy-source.ts reads. `npx vitest run --project unit tools/tidy.test.ts` runs it.
import { posix } from "node:path";
import { layerBreach, packageBreach } from "./layers.ts";
import type { Exception } from "./tidy-exceptions.ts";
import type { Source } from "./tidy-source.ts";

export interface Problem {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

/** A file that is longer does more than one thing. */
const FILE_LINES_MAX = 500;
/** TIGER_STYLE's limit: what fits on a screen. */
const FUNCTION_LINES_MAX = 70;

const isTest = (path: string) => path.endsWith(".test.ts");
/** The program itself, without its tests. */
const isProduct = (path: string) => path.startsWith("src/") && !isTest(path);

type Rule = (source: Source) => readonly Omit<Problem, "path" | "rule">[];

/** The source that `from` imports, from the root of the repository; `undefined` for packages and for JSON data. */
function importedPath(from: string, specifier: string): string | undefined {
  if (specifier.endsWith(".json")) return undefined;
  if (specifier.startsWith(".")) return posix.join(posix.dirname(from), specifier);
  if (!specifier.startsWith("#")) return undefined;
  return specifier.startsWith("#test/") ? specifier.slice(1) : `src/${specifier.slice(1)}`;
}

/** The area whose alias a file has: the folder below src, else the first folder. */
const aliasOf = (path: string) => path.split("/")[path.startsWith("src/") ? 1 : 0];

const layers: Rule = ({ path, imports }) => {
  if (!isProduct(path)) return [];
  return imports.flatMap(({ specifier, kind, line }) => {
    const target = importedPath(path, specifier);
    if (target === undefined) return [];
    if (!target.startsWith("src/")) return [{ line, message: `the program may not import ${target}` }];
    const message = layerBreach(path.slice("src/".length), target.slice("src/".length), kind);
    return message === undefined ? [] : [{ line, message }];
  });
};

const packages: Rule = ({ path, imports }) => {
  if (!isProduct(path)) return [];
  return imports
    .filter(({ specifier }) => !/^[.#]/.test(specifier))
    .flatMap(({ specifier, line }) => {
      const message = packageBreach(path.slice("src/".length), specifier);
      return message === undefined ? [] : [{ line, message }];
    });
};

const aliases: Rule = ({ path, imports }) => {
  if (!path.startsWith("src/")) return [];
  return imports.flatMap(({ specifier, line }) => {
    const target = importedPath(path, specifier);
    if (target === undefined) return [];
    const same = aliasOf(path) === aliasOf(target);
    if (specifier.startsWith(".") === same) return [];
    const wanted = same ? "a relative path inside an area" : `#${aliasOf(target)}/… across areas`;
    return [{ line, message: `${specifier}: write ${wanted}` }];
  });
};

const fileSize: Rule = ({ text }) => {
  const lines = text.trimEnd().split("\n").length;
  return lines > FILE_LINES_MAX ? [{ line: 1, message: `${lines} lines; at most ${FILE_LINES_MAX}` }] : [];
};

const functionSize: Rule = ({ functions }) =>
  functions
    .filter(({ lines }) => lines > FUNCTION_LINES_MAX)
    .map(({ line, lines }) => ({ line, message: `a function of ${lines} lines; at most ${FUNCTION_LINES_MAX}` }));

/** Names that say nothing of what is inside, so that everything ends up inside. */
const EMPTY_NAMES = ["utils", "util", "helpers", "misc", "common", "types", "constants", "index"];

const fileName: Rule = ({ path }) => {
  const name = posix.basename(path);
  const stem = name.split(".")[0] ?? "";
  if (EMPTY_NAMES.includes(stem)) return [{ line: 1, message: `${name} does not say what it holds` }];
  const isKebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.((property\.)?test|config|d))?\.ts$/.test(name);
  return isKebab ? [] : [{ line: 1, message: `${name} is not in kebab case` }];
};

/** Tests are told by their titles. */
const headComment: Rule = ({ path, text }) => {
  if (isTest(path) || /^(#!.*\n)?\/[/*]/.test(text)) return [];
  return [{ line: 1, message: "opens without a comment that says what the file owns" }];
};

/** Uses that are for some files alone, and which those are. */
const RESERVED: readonly { uses: readonly string[]; allowed: (path: string) => boolean; message: string }[] = [
  {
    uses: ["process.env", "process.argv"],
    allowed: (path) => !isProduct(path) || path.endsWith("/main.ts"),
    message: "only main.ts reads it; pass the value on as an argument",
  },
  {
    uses: ["Date.now", "new Date()", "setTimeout(", "setInterval(", "Math.random"],
    allowed: (path) => !isProduct(path) || path.startsWith("src/common/"),
    message: "only src/common may; take a Clock, or node:crypto's randomness, as an argument",
  },
  {
    uses: ["it", "test", "describe"].flatMap((name) => [`${name}.skip`, `${name}.only`, `${name}.todo`]),
    allowed: () => false,
    message: "a test that does not run, or keeps others from running; skipIf is for parts that are not installed",
  },
  {
    uses: ["as … as"],
    allowed: () => false,
    message: "a double cast silences the compiler; parse or narrow the value",
  },
];

const reservedUses: Rule = ({ path, uses, imports }) => {
  const found = RESERVED.flatMap(({ uses: reserved, allowed, message }) =>
    uses
      .filter(({ what }) => reserved.includes(what) && !allowed(path))
      .map(({ what, line }) => ({ line, message: `${what}: ${message}` })),
  );
  const timers = imports.filter(({ specifier }) => /^(node:)?timers(\/promises)?$/.test(specifier));
  if (!isProduct(path) || path.startsWith("src/common/")) return found;
  return [...found, ...timers.map(({ line, specifier }) => ({ line, message: `${specifier}: take a Clock` }))];
};

/** Put together from parts, so that this file does not find itself. */
const LEFT_OPEN = new RegExp(
  `\\b(${["TO", "FIX"].map((word) => `${word}${word === "TO" ? "DO" : "ME"}`).join("|")})\\b`,
);

const linesThat = (text: string, pattern: RegExp, message: string) =>
  text.split("\n").flatMap((content, i) => (pattern.test(content) ? [{ line: i + 1, message }] : []));

const leftOpen: Rule = ({ text }) => linesThat(text, LEFT_OPEN, "work left open; do it, or write an issue");

const exportsByName: Rule = ({ path, text }) =>
  path.endsWith(".config.ts")
    ? []
    : linesThat(text, /^export (default\b|\*|\{[^}]*\} from\b)/, "exports only what the file itself defines, by name");

const RULES: Readonly<Record<string, Rule>> = {
  layers,
  packages,
  aliases,
  "file-size": fileSize,
  "function-size": functionSize,
  "file-name": fileName,
  "head-comment": headComment,
  reserved: reservedUses,
  "left-open": leftOpen,
  "exports-by-name": exportsByName,
};

/** Files of the program that nothing but tests names. Programs begin at main.ts; generators read parts of it too. */
function unusedFiles(sources: readonly Source[]): Problem[] {
  // The CLI starts the main.ts of the area that is asked for, by a name that it puts together.
  const used = new Set(sources.map(({ path }) => path).filter((path) => /^src\/[a-z]+\/main\.ts$/.test(path)));
  for (const { path, imports } of sources.filter(({ path }) => !isTest(path) && !path.startsWith("test/"))) {
    for (const { specifier } of imports) {
      const target = importedPath(path, specifier);
      if (target !== undefined) used.add(target);
    }
  }
  return sources
    .filter(({ path }) => isProduct(path) && !used.has(path))
    .map(({ path }) => ({ path, line: 1, rule: "unused-file", message: "no file of the program imports it" }));
}

/** All that is wrong with the sources; exceptions are taken off, and those that excuse nothing are problems too. */
export function findProblems(sources: readonly Source[], exceptions: readonly Exception[]): Problem[] {
  const all = sources.flatMap((source) =>
    Object.entries(RULES).flatMap(([rule, check]) =>
      check(source).map((problem) => ({ path: source.path, rule, ...problem })),
    ),
  );
  all.push(...unusedFiles(sources));
  const excuses = (exception: Exception, problem: Problem) =>
    exception.path === problem.path && exception.rule === problem.rule;
  const stale = exceptions
    .filter((exception) => !all.some((problem) => excuses(exception, problem)))
    .map(({ path, rule }) => ({
      path,
      line: 1,
      rule: "stale-exception",
      message: `nothing here breaks ${rule} any more`,
    }));
  return [...all.filter((problem) => !exceptions.some((exception) => excuses(exception, problem))), ...stale];
}
