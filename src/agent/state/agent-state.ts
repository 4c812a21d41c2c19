// What an agent needs after a restart to go on with the token and the leased credentials it had: in memory over a reload
// of its configuration, in a file over a restart of its process. The file is JSON, mode 0600, and must lie on a tmpfs,
// for it holds secrets as they are; it is removed when the token is revoked.
//
//   version   1
//   identity  hash of where and as whom the agent logs in; with another one the file is another agent's
//   nameKey   hex; what names of requests with parameters are made with
//   token     the token with its times in ms since the epoch; null where it does not expire
//   leases    name, path and answer of each, with the times
import { readFile, rm, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { boolean, type Infer, jsonObject, list, number, object, optional, string } from "#common/schema.ts";
import { writeFileAtomically } from "../write-file.ts";

const token = object({
  token: string,
  renewable: boolean,
  firstTtlMillis: number,
  renewAt: number,
  expiresAt: optional(number),
});
const lease = object({
  name: string,
  path: string,
  data: jsonObject,
  id: string,
  seconds: number,
  firstSeconds: number,
  renewable: boolean,
  dueAt: number,
  expiresAt: number,
});
const document = object({
  version: number,
  identity: string,
  nameKey: string,
  token: optional(token),
  leases: list(lease),
});
export type SavedState = Omit<Infer<typeof document>, "version" | "identity">;
export type SavedLease = Infer<typeof lease>;

export interface AgentState {
  /** What was saved last by an agent of the same identity. */
  load(): Promise<SavedState | undefined>;
  save(state: SavedState): Promise<void>;
  clear(): Promise<void>;
}

const VERSION = 1;
const FILE_MODE = 0o600;
/** statfs(2): TMPFS_MAGIC, RAMFS_MAGIC. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x01021994, 0x858458f6];

export function memoryState(): AgentState {
  let saved: SavedState | undefined;
  return {
    load: async () => saved,
    async save(state) {
      saved = state;
    },
    async clear() {
      saved = undefined;
    },
  };
}

/** Throws `invalid_request` when the file would be on a disk. */
export async function fileState(path: string, identity: string): Promise<AgentState> {
  const { type } = await statfs(dirname(path)).catch((cause: unknown) => {
    throw new CofferError("invalid_request", `the state file ${path} cannot be kept: ${messageOf(cause)}`, { cause });
  });
  if (!MEMORY_FILE_SYSTEMS.includes(type)) {
    throw new CofferError(
      "invalid_request",
      `the state file ${path} would be on a disk, with secrets in it: put it on a tmpfs, such as below /run`,
    );
  }
  return {
    load: () => loadFile(path, identity),
    async save(state) {
      await writeFileAtomically(path, JSON.stringify({ version: VERSION, identity, ...state }), FILE_MODE);
    },
    clear: () => rm(path, { force: true }),
  };
}

/** A file that cannot be read as one is no reason not to start: the agent logs in. */
async function loadFile(path: string, identity: string): Promise<SavedState | undefined> {
  try {
    const { version, identity: of, ...state } = document.parse(parseJson(await readFile(path, "utf8")), "the state");
    return version === VERSION && of === identity ? state : undefined;
  } catch {
    return undefined;
  }
}
