// Regular expressions in Go's spelling (RE2, pkg.go.dev/regexp/syntax), run by JavaScript's engine. That engine goes back
// and tries again, so an expression may run for hours; the search runs in a context of its own that is stopped in time.
import { createContext, Script } from "node:vm";
import { Fault } from "./fault.ts";
import { type Budget, REGEX_MILLIS_MAX } from "./limits.ts";

interface Match {
  readonly index: number;
  readonly groups: readonly (string | undefined)[];
  readonly named: Readonly<Record<string, string | undefined>>;
}

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

function search(pattern: string, subject: string, once: boolean, budget: Budget): readonly Match[] {
  budget.regex();
  budget.produce(subject.length);
  const { source, flags } = translate(pattern);
  try {
    const context = createContext(
      { source, flags, subject, once },
      { codeGeneration: { strings: false, wasm: false } },
    );
    const found: [number, (string | null)[], Record<string, string>][] = JSON.parse(
      new Script(SEARCH).runInContext(context, { timeout: REGEX_MILLIS_MAX }),
    );
    return found.map(([index, groups, named]) => ({ index, groups: groups.map((group) => group ?? undefined), named }));
  } catch (error) {
    if (isTimeout(error)) {
      throw new Fault(`the regular expression takes longer than ${REGEX_MILLIS_MAX} ms`);
    }
    throw new Fault("the regular expression is malformed, or has what Go's regular expressions do not have");
  }
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
