// Regular expressions in Go's spelling (RE2, pkg.go.dev/regexp/syntax), run by JavaScript's engine. That engine goes back
// and tries again, so an expression may run for hours; the search runs in a context of its own that is stopped in time.
import { type Context, createContext, Script } from "node:vm";
import { Fault } from "./fault.ts";
import type { Budget } from "./limits.ts";

interface Match {
  readonly index: number;
  readonly groups: readonly (string | undefined)[];
  readonly named: Readonly<Record<string, string | undefined>>;
}

/** One search may take this long; wide enough for a container that gets a tenth of a core. */
export const REGEX_MILLIS_MAX = 1_000;
/** All searches of one evaluation together, after which there is none any more. */
export const REGEX_MILLIS_TOTAL_MAX = 2_000;
export const REGEX_CALLS_MAX = 10_000;
const MATCHES = 200_000;
const SEARCH = `(() => {
  const found = [];
  for (const m of subject.matchAll(new RegExp(source, flags))) {
    if (found.push([m.index, [...m], { ...m.groups }]) >= ${MATCHES} || once) break;
  }
  return JSON.stringify(found);
})()`;
const POSIX: Readonly<Record<string, string>> = {
  ...{ alnum: "0-9A-Za-z", alpha: "A-Za-z", digit: "0-9", lower: "a-z", upper: "A-Z", xdigit: "0-9A-Fa-f" },
  ...{ space: "\\t\\n\\v\\f\\r ", blank: "\\t ", word: "0-9A-Za-z_", punct: "!-\\/:-@\\[-`{-~" },
};

export function containsMatch(pattern: string, subject: string, budget: Budget): boolean {
  return search(pattern, subject, true, budget).length > 0;
}

/** `$1` and `${name}` of the replacement are groups; the longest name counts, and a group that is not there is empty. */
export function replaceMatches(pattern: string, replacement: string, subject: string, budget: Budget): string {
  let out = "";
  let at = 0;
  for (const { index, groups, named } of search(pattern, subject, false, budget)) {
    const filled = replacement.replace(/\$(?:\$|(\w+)|\{(\w+)\})/g, (all, bare?: string, braced?: string) => {
      const name = bare ?? braced;
      if (name === undefined) return "$";
      return (/^\d+$/.test(name) ? groups[Number(name)] : named[name]) ?? (all === "" ? all : "");
    });
    budget.produce(filled.length + index - at);
    out += subject.slice(at, index) + filled;
    at = index + (groups[0]?.length ?? 0);
  }
  return out + subject.slice(at);
}

/** The context of a template's searches, which holds nothing but what is searched. Each costs memory, so it is kept. */
export class RegexContext {
  #context: Context | undefined;
  #script: Script | undefined;

  /** Gives JSON of the matches; throws when it takes too long or the pattern is malformed. */
  search(variables: { source: string; flags: string; subject: string; once: boolean }): string {
    this.#context ??= createContext({}, { codeGeneration: { strings: false, wasm: false } });
    this.#script ??= new Script(SEARCH);
    Object.assign(this.#context, variables);
    try {
      return String(this.#script.runInContext(this.#context, { timeout: REGEX_MILLIS_MAX }));
    } finally {
      Object.assign(this.#context, { subject: "" });
    }
  }
}

/** The searches of one evaluation. */
export class RegexRunner {
  readonly #now: () => number;
  readonly #context: RegexContext;
  #calls = 0;
  #millis = 0;

  constructor(now: () => number, context: RegexContext) {
    this.#now = now;
    this.#context = context;
  }

  run(pattern: string, subject: string, once: boolean): readonly Match[] {
    if (++this.#calls > REGEX_CALLS_MAX || this.#millis > REGEX_MILLIS_TOTAL_MAX) {
      throw new Fault("the template's regular expressions take too long altogether");
    }
    const translated = translate(pattern);
    const start = this.#now();
    try {
      const found: [number, (string | null)[], Record<string, string>][] = JSON.parse(
        this.#context.search({ ...translated, subject, once }),
      );
      return found.map(([index, groups, named]) => ({ index, groups: groups.map((g) => g ?? undefined), named }));
    } catch (error) {
      if (isTimeout(error)) throw new Fault(`the regular expression takes longer than ${REGEX_MILLIS_MAX} ms`);
      throw new Fault("the regular expression is malformed, or has what Go's regular expressions do not have");
    } finally {
      this.#millis += this.#now() - start;
    }
  }
}

function search(pattern: string, subject: string, once: boolean, budget: Budget): readonly Match[] {
  budget.produce(subject.length);
  return budget.regexes.run(pattern, subject, once);
}

/** The error may be of the other context, whose Error is another one. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}

/** Go's spelling as JavaScript's. What Go does not have (looking around, back references) is refused, as Go does. */
function translate(pattern: string): { source: string; flags: string } {
  const [, inline = ""] = /^\(\?([ims]+)\)/.exec(pattern) ?? [];
  const body = inline === "" ? pattern : pattern.slice(inline.length + 3);
  if (/(?<!\\)(?:\\\\)*(?:\(\?<?[=!]|\\[1-9])/.test(body)) {
    throw new Fault("regular expressions do not look around and do not refer back here, as with Go");
  }
  const source = body
    .replaceAll("(?P<", "(?<")
    .replaceAll("\\z", "$(?![\\s\\S])")
    .replaceAll("\\A", "(?<![\\s\\S])")
    .replace(/\[:(\^?)(\w+):\]/g, (all, not: string, name: string) => (not === "" ? (POSIX[name] ?? all) : all));
  return { source, flags: `gu${inline}` };
}
