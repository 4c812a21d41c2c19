// What a server pod knows of the CloudHSM cluster behind its seal, by sys/seal-backend-status, which answers without a token
// and while sealed.
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import { CofferError } from "#common/errors.ts";
import { type Infer, list, number, object, optional, string, withDefault } from "#common/schema.ts";

const warning = object({ reason: string, message: string });
const machinery = object({
  cluster_id: string,
  state: optional(string),
  active_hsms: optional(number),
  backup_count: optional(number),
  newest_backup_age_seconds: optional(number),
  looked_at: optional(string),
  warnings: withDefault(list(warning), []),
  error: optional(warning),
});
export type Machinery = Infer<typeof machinery>;
const status = object({ backends: withDefault(list(object({ machinery: optional(machinery) })), []) });

/** Undefined: the server knows of none, does not answer, or is too old to say. Never throws. */
export async function readMachinery(client: ApiClient, signal: AbortSignal): Promise<Machinery | undefined> {
  try {
    const { data } = await client.read("sys/seal-backend-status", { retries: 0, signal });
    return status.parse(data, "sys/seal-backend-status").backends.find((one) => one.machinery !== undefined)?.machinery;
  } catch (error) {
    if (error instanceof ApiError || error instanceof CofferError) return undefined;
    throw error;
  }
}
