// Records of two servers side by side: which fields are taken over, whether they say the same, and what to send. Servers
// differ in how they write nothing (null, an empty list, no member) and in the order of sets. Pure but for the reads.
import type { ApiClient, CallOptions } from "#client/api-client.ts";
import { ApiError, hasStatus } from "#client/api-error.ts";
import {
  encodeSorted,
  isJsonArray,
  isJsonObject,
  isNumberLiteral,
  type JsonObject,
  type JsonValue,
} from "#common/json.ts";
import type { Plan } from "./import-item.ts";

/** The data of a path, or undefined when there is nothing. */
export async function readOrNone(
  client: ApiClient,
  path: string,
  options: CallOptions = {},
): Promise<JsonObject | undefined> {
  try {
    return (await client.read(path, options)).data;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Names of one listing page; a server that knows no pages gives everything at once. */
const LIST_PAGE = 1_000;

/** The names below a path, page by page where the server has pages. */
export async function* namesBelow(client: ApiClient, path: string): AsyncGenerator<string> {
  let [first, after]: (string | undefined)[] = [];
  for (;;) {
    const names = await listPage(client, path, after);
    if (first !== undefined && names[0] === first) return; // The server takes no notice of `after`.
    yield* names;
    if (names.length !== LIST_PAGE) return;
    first ??= names[0];
    after = names.at(-1);
  }
}

async function listPage(client: ApiClient, path: string, after: string | undefined): Promise<readonly string[]> {
  try {
    return await client.list(path, { query: { limit: LIST_PAGE, after } });
  } catch (error) {
    // With warnings or lines of its own some servers still mean that there is nothing.
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  }
}

/** The fields of a record that are taken over, those that the source has. */
export function pick(record: JsonObject, fields: readonly string[]): JsonObject {
  const present = fields.filter((name) => record[name] !== undefined && record[name] !== null);
  return Object.fromEntries(present.map((name) => [name, record[name] ?? null]));
}

/** Whether two records say the same in these fields. */
export function isSame(one: JsonObject, other: JsonObject, fields: readonly string[]): boolean {
  return fields.every((name) => canonical(one[name]) === canonical(other[name]));
}

/** One text for everything that means the same. */
function canonical(value: JsonValue | undefined): string {
  if (value === undefined || value === null || value === "" || value === false || value === 0) return "";
  if (isNumberLiteral(value)) return value.rawJSON;
  if (isJsonArray(value)) return value.length === 0 ? "" : JSON.stringify(value.map(canonical).sort());
  if (!isJsonObject(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, member]) => [name, canonical(member)]);
  const said = members.filter(([, member]) => member !== "");
  return said.length === 0 ? "" : encodeSorted(Object.fromEntries(said));
}

export interface RecordPair {
  readonly wanted: JsonObject;
  readonly present: JsonObject | undefined;
  readonly fields: readonly string[];
  readonly losses?: readonly string[];
  /** Writes the fields that are given. */
  readonly write: (body: JsonObject) => Promise<unknown>;
}

/** Creates or updates a record unless it says the same already. */
export function planRecord({ wanted, present, fields, losses = [], write }: RecordPair): Plan {
  if (present !== undefined && isSame(wanted, present, fields)) return { action: "unchanged" };
  return { action: present === undefined ? "create" : "update", losses, apply: () => write(pick(wanted, fields)) };
}
