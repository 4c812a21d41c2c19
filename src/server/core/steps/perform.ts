// Step "perform": unwrapping the token of a request that waited for approval does the request, once, in the transaction
// that ends the token, with the rights that its requester has at that moment. It is audited as a request of its own.
import { CofferError } from "#common/errors.ts";
import { findHeld } from "../../approval/held-request.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { isHeldApproved, prepareHeld } from "../held.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { auditRequest } from "./audit.ts";
import { handle } from "./handle.ts";
import { issue } from "./issue.ts";

export function perform(state: RequestState, services: CoreServices): Promise<void> | undefined {
  const { tx, reply } = state;
  return tx && reply?.perform && performHeld(state, services, tx, reply.perform.accessor);
}

async function performHeld(state: RequestState, services: CoreServices, tx: Transaction, accessor: string) {
  const { request } = state;
  const held = await findHeld({ transaction: tx, scope: state.scope }, accessor);
  const audited = state.auditedPerformed ?? { request: false };
  const performed = await prepareHeld(tx, services, held, { id: request.id, audited });
  if (!(await isHeldApproved(tx, held, performed)))
    throw new CofferError("invalid_request", "request needs further approval");
  state.performed = performed;
  await auditRequest(performed, services);
  await handle(performed, services);
  await issue(performed, services);
  await services.expiration.revokeToken(tx, held.wrapping.hash);
}
