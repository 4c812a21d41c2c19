// A request that waits for approval: what was asked, by which token, and who has approved so far. It lies in the
// cubbyhole of the wrapping token that its client was given, so that it ends with that token. Whether the approvals are
// enough is decided anew every time (approval.ts), by the policies and groups of that moment.
import { CofferError } from "#common/errors.ts";
import { type Infer, jsonObject, list, number, object, oneOf, optional, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { findTokenByAccessor } from "../tokens/reachable-token.ts";
import { type TokenRecord, tokenKind } from "../tokens/token-record.ts";
import { wrappingStore } from "../wrapping/wrapping.ts";

const operation = oneOf("create", "read", "update", "patch", "delete", "list", "scan", "help");

const heldSchema = object({
  /** As the client asked, and as it was understood: a write may be a create. */
  operation,
  effectiveOperation: operation,
  path: string,
  namespace: string,
  data: jsonObject,
  query: jsonObject,
  wrapTtlSeconds: optional(number),
  remoteAddress: string,
  remotePort: number,
  page: object({ after: optional(string), limit: number }),
  /** The token as it was; what it may do is asked of the one that it is later. */
  requester: tokenKind.schema,
  authorizations: list(object({ entityId: string, timeMillis: number })),
});
export type HeldRequest = Infer<typeof heldSchema>;
const heldKind = recordKind("request that waits for approval", heldSchema);

const NAME = "control-group";

export interface Held {
  readonly wrapping: TokenRecord;
  readonly request: HeldRequest;
}

/** Keeps a request, or what has become of it, with its wrapping token. */
export async function writeHeld(tx: Transaction, { wrapping, request }: Held): Promise<void> {
  const { view, folder } = await wrappingStore(tx, wrapping);
  view.write(heldKind, folder + NAME, request);
}

/** The request that a wrapping token stands for; undefined for one that holds an answer. */
export async function readHeld(tx: Transaction, wrapping: TokenRecord): Promise<Held | undefined> {
  const { view, folder } = await wrappingStore(tx, wrapping);
  const request = await view.read(heldKind, folder + NAME);
  return request && { wrapping, request };
}

/** The same by the accessor of the wrapping token, which may have expired. Throws `invalid_request`. */
export async function findHeld(
  place: Pick<PrivilegedContext, "transaction" | "scope">,
  accessor: string,
): Promise<Held> {
  if (accessor === "") throw new CofferError("invalid_request", "accessor must be given");
  const wrapping = await findTokenByAccessor(place, accessor);
  const held = wrapping?.wrappedPath === undefined ? undefined : await readHeld(place.transaction, wrapping);
  if (held) return held;
  throw new CofferError("invalid_request", "accessor is of no request that waits for approval");
}
