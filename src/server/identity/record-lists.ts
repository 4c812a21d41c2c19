// Lists of entities, groups and aliases by id or by name: the keys, and in key_info what each one is.
import type { JsonObject } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import type { Reply } from "../framework/reply.ts";
import { nameInKey, pointerKind } from "./identity-records.ts";

/** Longer lists have no key_info: it reads every record. */
export const KEY_INFO_MAX = 1_000;

interface Source {
  readonly prefix: string;
  /** "name": the keys are names, shown in the case in which they were written. */
  readonly by: "id" | "name";
  /** Key of the record that a record's info is read from. */
  readonly recordKey: (id: string) => string;
  readonly info: (id: string) => Promise<JsonObject | undefined>;
  /** True when the listed key points at the record rather than being it. */
  readonly points: boolean;
}

/** Answers undefined (404) for an empty list. */
export async function listRecords(context: PrivilegedContext, source: Source): Promise<Reply | undefined> {
  const found = await listKeys(context, source);
  if (found.length === 0) return undefined;
  const keys = found.map((item) => item.shown);
  if (keys.length > KEY_INFO_MAX) return { data: { keys } };
  await context.transaction.prefetch(found.map((item) => source.recordKey(item.id)));
  const info: [string, JsonObject][] = [];
  for (const item of found) {
    const about = await source.info(item.id);
    if (about) info.push([item.shown, about]);
  }
  return { data: { keys, key_info: Object.fromEntries(info) } };
}

async function listKeys({ transaction: tx, page }: PrivilegedContext, { prefix, by, points }: Source) {
  const after = page.after === undefined || by === "id" ? page.after : nameInKey(page.after);
  const names = await tx.list(prefix, { limit: page.limit, ...(after !== undefined && { after }) });
  if (!points) return names.map((id) => ({ shown: id, id }));
  await tx.prefetch(names.map((name) => prefix + name));
  const pointers = await Promise.all(names.map((name) => tx.read(pointerKind, prefix + name)));
  return names.flatMap((name, i) => {
    const pointer = pointers[i];
    return pointer
      ? [{ shown: by === "name" ? (pointer.name ?? name) : name, id: by === "name" ? pointer.id : name }]
      : [];
  });
}
