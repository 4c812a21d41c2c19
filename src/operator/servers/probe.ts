// Asks one server pod how it is, by sys/seal-status, which answers without a token and while sealed.
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { boolean, type Infer, list, object, optional, string, withDefault } from "#common/schema.ts";

const trouble = object({
  seal: withDefault(string, ""),
  /** Of a closed list of the server: KeyDisabled, AccessDenied, Unreachable, … */
  reason: string,
  message: withDefault(string, ""),
  since: optional(string),
});
export type SealTrouble = Infer<typeof trouble>;

const sealStatus = object({
  initialized: boolean,
  sealed: boolean,
  version: optional(string),
  seal_troubles: withDefault(list(trouble), []),
});

export type ServerAnswer =
  | {
      readonly kind: "answered";
      readonly initialized: boolean;
      readonly sealed: boolean;
      readonly version: string | undefined;
      readonly troubles: readonly SealTrouble[];
      readonly tookMillis: number;
    }
  | { readonly kind: "silent"; readonly reason: string };

/** A server pod and what it said. */
export interface MemberProbe {
  readonly pod: string;
  readonly answer: ServerAnswer;
}

/** Never throws: no answer is an answer too. */
export async function probe(client: ApiClient, clock: Clock, signal: AbortSignal): Promise<ServerAnswer> {
  const startedAt = clock.now();
  try {
    const { data } = await client.read("sys/seal-status", { retries: 0, signal });
    const { seal_troubles: troubles, version, ...state } = sealStatus.parse(data, "sys/seal-status");
    return { kind: "answered", ...state, version, troubles, tookMillis: clock.now() - startedAt };
  } catch (error) {
    if (error instanceof ApiError || error instanceof CofferError) return { kind: "silent", reason: error.message };
    throw error;
  }
}
