// Prints answers: as tables for people, or whole as JSON or YAML for programs, or one field for scripts.
import type { Auth, Envelope, WrapInfo } from "#client/envelope.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { CliIo } from "./cli-io.ts";
import type { FlagValues } from "./flags.ts";
import { variable } from "./settings.ts";
import { cell, duration, type Row, rowsOf, table } from "./table.ts";

export const outputFlags = {
  format: { kind: "text", help: "table, json or yaml (VAULT_FORMAT)." },
  field: { kind: "text", help: "Print only this field, as it is." },
} as const;
export type OutputFlags = FlagValues<typeof outputFlags>;

export interface Printer {
  readonly format: "table" | "json" | "yaml";
  /** An answer: its field, the whole as JSON or YAML, or Vault's table. `data` replaces where the field is looked for. */
  answer(answer: Envelope, options?: { data?: JsonObject | undefined; table?: () => string }): Promise<void>;
  /** Any value; `asTable` gives its table. */
  value(value: JsonValue, asTable: () => string): Promise<void>;
  /** A line for people; not shown with json, yaml or -field. */
  note(text: string): void;
}

/** A printer for one command. Throws `invalid_request` for an unknown format. */
export function createPrinter(flags: OutputFlags, io: CliIo): Printer {
  const format = flags.format ?? variable(io, "FORMAT") ?? "table";
  if (format !== "table" && format !== "json" && format !== "yaml") {
    throw new CofferError("invalid_request", `the format "${format}" is unknown; use table, json or yaml`);
  }
  const value: Printer["value"] = async (content, asTable) => {
    io.stdout.write(format === "table" ? asTable() : await encode(content, format));
  };
  return {
    format,
    value,
    async answer(answer, { data = fieldsOf(answer), table: asTable } = {}) {
      for (const warning of answer.warnings) io.stderr.write(`WARNING! ${warning}\n`);
      if (flags.field !== undefined) return printField(flags.field, data, io);
      return value(answer.body ?? {}, asTable ?? (() => table(["Key", "Value"], answerRows(answer))));
    },
    note(text) {
      if (format === "table" && flags.field === undefined) io.stdout.write(`${text}\n`);
    },
  };
}

function printField(name: string, data: JsonObject, io: CliIo): void {
  const value = Object.hasOwn(data, name) ? data[name] : undefined;
  if (value === undefined) throw new CofferError("invalid_request", `the field "${name}" is not in the answer`);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  io.stdout.write(io.isTerminal ? `${text}\n` : text);
}

async function encode(value: JsonValue, format: "json" | "yaml"): Promise<string> {
  if (format === "json") return `${JSON.stringify(value, undefined, 2)}\n`;
  const { parse, stringify } = await import("yaml");
  // Through JSON text, which is YAML: numbers kept as literals are objects that the library does not know.
  const plain: unknown = parse(JSON.stringify(value), { intAsBigInt: true });
  return stringify(plain, { compat: "yaml-1.1", lineWidth: 0 });
}

function fieldsOf(answer: Envelope): JsonObject {
  const { auth, wrap_info: wrap } = answer;
  return {
    ...(auth === undefined ? {} : authFields(auth)),
    ...(wrap === undefined ? {} : wrapFields(wrap)),
    ...answer.data,
  };
}

function authFields(auth: Auth): JsonObject {
  return {
    token: auth.client_token,
    token_accessor: auth.accessor,
    token_duration: auth.lease_duration,
    token_renewable: auth.renewable,
    token_policies: auth.token_policies,
    identity_policies: auth.identity_policies,
    policies: auth.policies,
    ...Object.fromEntries(Object.entries(auth.metadata).map(([key, value]) => [`token_meta_${key}`, value])),
  };
}

function wrapFields(wrap: WrapInfo): JsonObject {
  return {
    wrapping_token: wrap.token,
    wrapping_accessor: wrap.accessor,
    wrapping_token_ttl: wrap.ttl,
    wrapping_token_creation_time: wrap.creation_time,
    wrapping_token_creation_path: wrap.creation_path,
    ...(wrap.wrapped_accessor ? { wrapped_accessor: wrap.wrapped_accessor } : {}),
  };
}

/** What a table says of an answer: lease, then token, then wrapping, then data. */
function answerRows(answer: Envelope): Row[] {
  const rows: Row[] = [];
  if (answer.lease_id !== "") {
    rows.push(["lease_id", answer.lease_id], ["lease_duration", duration(answer.lease_duration)]);
    rows.push(["lease_renewable", String(answer.renewable)]);
  } else if (answer.lease_duration > 0) rows.push(["refresh_interval", duration(answer.lease_duration)]);
  if (answer.auth !== undefined) {
    // A token without a ttl is a root token.
    const ttl = answer.auth.lease_duration === 0 ? "∞" : duration(answer.auth.lease_duration);
    for (const [key, value] of Object.entries(authFields(answer.auth))) {
      rows.push([key, key === "token_duration" ? ttl : quotedCell(value)]);
    }
  }
  if (answer.wrap_info !== undefined) {
    for (const [key, value] of Object.entries(wrapFields(answer.wrap_info))) {
      rows.push([`${key}:`, key === "wrapping_token_ttl" ? duration(answer.wrap_info.ttl) : cell(value)]);
    }
  }
  return [...rows, ...(isJsonObject(answer.data) ? rowsOf(answer.data) : [])];
}

/** Lists of policies are quoted, so that an empty one is seen. */
function quotedCell(value: JsonValue): string {
  return Array.isArray(value) ? `[${value.map((item) => JSON.stringify(item)).join(" ")}]` : cell(value);
}
