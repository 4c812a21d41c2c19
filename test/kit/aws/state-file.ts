// What the responder remembers over a restart, as one JSON file: keys with their material, aliases, sessions of roles.
// Written whole and renamed into place, so that a kill leaves the old or the new state.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseJson } from "#common/json.ts";
import { boolean, type Infer, list, map, number, object, oneOf, optional, string } from "#common/schema.ts";
import type { AccessControl } from "./access.ts";
import type { KeyStore } from "./kms-keys.ts";

const stateSchema = object({
  keys: list(
    object({
      id: string,
      arn: string,
      description: string,
      created: number,
      state: oneOf("Enabled", "Disabled", "PendingDeletion"),
      deletion: optional(number),
      rotationEnabled: boolean,
      materials: list(string),
      rotations: list(object({ at: number, type: oneOf("ON_DEMAND", "AUTOMATIC") })),
      primary: optional(string),
    }),
  ),
  aliases: map(string),
  sessions: list(
    object({
      accessKeyId: string,
      secretAccessKey: string,
      sessionToken: optional(string),
      expires: optional(number),
      arn: string,
      userId: string,
      role: optional(string),
    }),
  ),
});

/** Fills the store from the file; a file that is not there leaves it empty. */
export function loadState(path: string, store: KeyStore, access: AccessControl): void {
  const content = readIfThere(path);
  if (content === undefined) return;
  const state: Infer<typeof stateSchema> = stateSchema.parse(parseJson(content));
  for (const key of state.keys)
    store.keys.set(key.id, { ...key, materials: [...key.materials], rotations: [...key.rotations] });
  for (const [alias, id] of Object.entries(state.aliases)) store.aliases.set(alias, id);
  for (const session of state.sessions) access.restoreSession(session);
}

export function saveState(path: string, store: KeyStore, access: AccessControl): void {
  const state = {
    keys: [...store.keys.values()],
    aliases: Object.fromEntries(store.aliases),
    sessions: access.sessions(),
  };
  writeFileSync(`${path}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
