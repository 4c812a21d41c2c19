// Kinds of settings that only the agent has: commands, which may be a list or a text, octal permissions, shares, whose
// token is used.
import type { ConfigField } from "#common/hcl/config-fields.ts";
import { hclError } from "#common/hcl/syntax-tree.ts";

/** Words that mean the same to a shell and to nobody. */
const PLAIN_WORDS = /^[\w./:=@%+,-]+(?: +[\w./:=@%+,-]+)*$/;
const SHELL = "/bin/sh";

/** The program and its arguments; empty when there is none. */
export function commandLine(doc: string): ConfigField<readonly string[]> {
  return {
    ...{ kind: "a text or a list of texts", doc, fallback: [] },
    parse(value, name) {
      if (value.kind === "string") return ofText(value.value);
      const all = value.kind === "list" ? value.values.map((each) => (each.kind === "string" ? each.value : "")) : [""];
      if (all.some((each) => each === "")) throw hclError(value.position, `${name} must be a text or a list of texts`);
      // As in Vault's agent: a list of one is a line for the shell, unless it is a single word.
      return all.length === 1 ? ofText(all[0] ?? "") : all;
    },
  };
}

function ofText(line: string): readonly string[] {
  const trimmed = line.trim();
  if (trimmed === "") return [];
  return PLAIN_WORDS.test(trimmed) ? trimmed.split(/ +/) : [SHELL, "-c", trimmed];
}

/** Octal permissions as a text: "0640", or a number that is written so. */
export function modeText(doc: string, fallback: string): ConfigField<string> {
  return {
    ...{ kind: "octal permissions", doc, fallback },
    parse(value, name) {
      // A number of HCL has lost its first 0, and reads the same.
      const given = value.kind === "string" || value.kind === "number" ? String(value.value) : "";
      if (given === "" || given === "0") return fallback;
      if (/^0?[0-7]{3}$/.test(given)) return given;
      throw hclError(value.position, `${name} must be octal permissions such as "0640"`);
    },
  };
}

/** true, false or "force", for whose token a request of the proxy goes with. */
export function tokenUse(doc: string): ConfigField<"Never" | "WhenMissing" | "Force"> {
  const uses = { false: "Never", true: "WhenMissing", force: "Force" } as const;
  return {
    ...{ kind: 'true, false or "force"', doc, fallback: uses.false },
    parse(value, name) {
      const given = value.kind === "string" || value.kind === "boolean" ? String(value.value).toLowerCase() : "";
      if (given === "true" || given === "false" || given === "force") return uses[given];
      throw hclError(value.position, `${name} must be true, false or "force"`);
    },
  };
}

/** A number above 0 and below 1. */
export function share(doc: string, fallback: number): ConfigField<number> {
  return {
    ...{ kind: "a number between 0 and 1", doc, fallback },
    parse(value, name) {
      const given = value.kind === "string" || value.kind === "number" ? Number(value.value) : Number.NaN;
      if (given > 0 && given < 1) return given;
      throw hclError(value.position, `${name} must be a number between 0 and 1, such as ${fallback}`);
    },
  };
}
