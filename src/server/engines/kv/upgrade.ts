// Turns the secrets of a KV version 1 mount into first versions of a version 2 mount, in the transaction that changes
// the mount's option. Both layouts lie side by side (v1.ts, v2-records.ts), so every secret is moved, not rewritten in
// place. Bounded: all of it is one commit.
import { CofferError } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import type { Context } from "../../framework/context.ts";
import { scanFolder } from "../../framework/listing.ts";
import { V1_FOLDER } from "./v1.ts";
import { inDoubles } from "./v2-data.ts";
import { addVersion, newKey, readConfig, readKey } from "./v2-records.ts";

/** One commit takes that many in a fraction of a second; more would hold up everybody else's. */
export const UPGRADE_SECRETS_MAX = 1_000;
/** All plaintexts are in memory at once. */
export const UPGRADE_BYTES_MAX = 32 * 1024 * 1024;

type UpgradeContext = Pick<Context, "storage" | "clock" | "log">;

/** Throws `invalid_request`, with nothing changed, when there is more than one transaction can hold. */
export async function upgradeToV2(
  context: UpgradeContext,
  before: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  if ((before["version"] ?? "1") !== "1") return [];
  const { storage } = context;
  const paths = await scanFolder(storage, V1_FOLDER, { limit: UPGRADE_SECRETS_MAX + 1 });
  if (paths.length > UPGRADE_SECRETS_MAX) throw tooMuch(`more than ${UPGRADE_SECRETS_MAX} secrets`);
  await storage.prefetch(paths.map((path) => V1_FOLDER + path));
  const config = await readConfig(context);
  let size = 0;
  let moved = 0;
  for (const path of paths) {
    const stored = await storage.get(V1_FOLDER + path);
    if (stored === undefined || (await readKey(context, path)) !== undefined) continue;
    size += stored.length;
    if (size > UPGRADE_BYTES_MAX) throw tooMuch(`more than ${UPGRADE_BYTES_MAX} bytes of secrets`);
    const data = parseJson(Buffer.from(stored).toString("utf8"));
    if (!isJsonObject(data)) throw new CofferError("internal", `the secret at ${path} is not a JSON object`);
    addVersion(context, path, newKey(context.clock.now()), config, inDoubles(data));
    storage.delete(V1_FOLDER + path);
    moved++;
  }
  // A scan ends at a number of folders; nothing may be left where version 2 does not look.
  if ((await storage.list(V1_FOLDER, { limit: 1 })).length > 0) throw tooMuch("more folders than one scan visits");
  return [`The ${moved} secrets of this mount are now first versions of version 2.`];
}

function tooMuch(what: string): CofferError {
  return new CofferError(
    "invalid_request",
    `this mount has ${what}, which is more than one upgrade converts; enable a kv mount of version 2 at another path, copy the secrets, then move the clients`,
  );
}
