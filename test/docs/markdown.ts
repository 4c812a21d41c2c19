// Reads the hand-written and generated documents of the repository for the tests beside it.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Document {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
}

/** Folders whose Markdown is a document of the project. */
const FOLDERS = ["docs", "test/cluster"];

export function documents(): readonly Document[] {
  const top = readdirSync(ROOT).filter((name) => name.endsWith(".md"));
  const below = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`),
  );
  return [...top, ...below].sort().map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

export function documentAt(path: string): Document {
  return { path, text: readFileSync(join(ROOT, path), "utf8") };
}

/** The fenced blocks of a language, in order. */
export function blocks({ text }: Document, language: string): readonly string[] {
  const fenced = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms");
  return [...text.matchAll(fenced)].map((match) => match[1] ?? "");
}

/** The text without its fenced blocks. */
export function prose({ text }: Document): string {
  return text.replace(/^```.*?^```/gms, "");
}

export interface Link {
  /** File that it leads to, from the root; the document itself for "#…". */
  readonly file: string;
  readonly anchor: string | undefined;
}

/** Links and pictures that lead into the repository. */
export function localLinks(document: Document): readonly Link[] {
  return [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? document.path : relative(ROOT, join(ROOT, dirname(document.path), path));
    return [{ file, anchor }];
  });
}

/** The anchors of headings, as GitHub makes them. */
export function anchors(document: Document): ReadonlySet<string> {
  const headings = prose(document).matchAll(/^#{1,6} (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
