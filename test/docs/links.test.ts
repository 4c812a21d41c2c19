import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { registry } from "#cli/registry.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { anchors, documentAt, documents, localLinks, ROOT } from "./markdown.ts";

const all = documents();
/** Scripts that npm runs without the word "run". */
const SHORT_SCRIPTS = ["start", "test"];

function scripts(): ReadonlySet<string> {
  const manifest = parseJson(readFileSync(join(ROOT, "package.json"), "utf8"));
  const named = isJsonObject(manifest) ? manifest["scripts"] : undefined;
  return new Set(Object.keys(isJsonObject(named) ? named : {}));
}

/** What the documents say that is not so, as "document: thing". */
function wrong(find: (text: string, path: string) => readonly string[]): readonly string[] {
  return all.flatMap(({ path, text }) => find(text, path).map((thing) => `${path}: ${thing}`));
}

const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1] ?? "");

describe("documents", () => {
  it("are found", () => {
    expect(all.map(({ path }) => path)).toEqual(expect.arrayContaining(["README.md", "SECURITY.md"]));
  });

  it("link to files and headings that exist", () => {
    const broken = all.flatMap((document) =>
      localLinks(document)
        .filter(({ file, anchor }) => {
          if (!existsSync(join(ROOT, file))) return true;
          return anchor !== undefined && !anchors(documentAt(file)).has(anchor);
        })
        .map(({ file, anchor }) => `${document.path}: ${file}${anchor === undefined ? "" : `#${anchor}`}`),
    );
    expect(broken).toEqual([]);
  });

  it("name files that exist", () => {
    const named = /`((?:bin|charts|crds|docs|src|test|tools)\/[\w./-]*)`/g;
    const isPattern = (path: string) => path.includes("NNNN");
    const isMissing = (path: string) => !isPattern(path) && !existsSync(join(ROOT, path));
    expect(wrong((text) => found(text, named).filter(isMissing))).toEqual([]);
  });

  it("name npm scripts that exist", () => {
    const known = scripts();
    const run = wrong((text) => found(text, /npm run (?:-s )?([\w:-]+)/g).filter((name) => !known.has(name)));
    expect(run).toEqual([]);
    expect(SHORT_SCRIPTS.filter((name) => !known.has(name))).toEqual([]);
  });

  it("name commands of coffer that exist", () => {
    const known = registry.map(({ name }) => name);
    const isKnown = (words: string) => known.some((name) => words === name || words.startsWith(`${name} `));
    const asked = /bin\/coffer ((?:[a-z]+ ?)+)/g;
    expect(wrong((text) => found(text, asked).filter((words) => !isKnown(words.trim())))).toEqual([]);
  });
});
