// Requests that wait for approval, as the core sees them: what its requester may do now, whose approval that needs, and
// what those who approved so far come to.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type Approver, approvalRefusal, approverOf, approversOf, isApproved } from "../approval/approval.ts";
import { findHeld, type Held, writeHeld } from "../approval/held-request.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { permissionDenied } from "../framework/multi-error.ts";
import type { ControlGroup } from "../policy/control-group.ts";
import type { CoreServices, RequestState } from "./request-state.ts";
import { identify } from "./steps/authenticate.ts";
import { authorise } from "./steps/authorise.ts";
import { resolve } from "./steps/resolve.ts";

/** More have not approved any request; factors ask for fewer. */
const AUTHORIZATIONS_MAX = 1_000;

/**
 * The request with its requester's rights of now, authorised but not done. Throws what any request without the right
 * would, and `permission_denied` when the requester's token has ended.
 */
export async function prepareHeld(
  tx: Transaction,
  services: CoreServices,
  { request }: Held,
  base: Pick<RequestState, "audited"> & { readonly id: string },
): Promise<RequestState> {
  const requester = await services.tokens.current(tx, request.requester);
  if (!requester)
    throw new CofferError("permission_denied", "the token that made the request has ended; make the request anew");
  const { operation, path, namespace, data, query, wrapTtlSeconds, remoteAddress, remotePort, page } = request;
  // A record of its own: what is computed of a token's text is kept by its record, and this is not its text.
  const token = { ...requester };
  const clientToken = services.tokens.standIn(tx, token);
  const state: RequestState = {
    request: {
      ...{ id: base.id, operation, path, namespace, data, query, wrapTtlSeconds, remoteAddress, remotePort },
      page: { limit: page.limit, ...(page.after !== undefined && { after: page.after }) },
      clientToken,
    },
    ...{ tx, operation, warnings: [], audited: base.audited },
  };
  await resolve(state, services);
  await identify(state, services, token);
  await authorise(state, services);
  return state;
}

/** Whether enough have approved what a prepared request needs now. */
export async function isHeldApproved(tx: Transaction, { request }: Held, prepared: RequestState): Promise<boolean> {
  const control = prepared.decision?.controlGroup;
  if (!control) return true;
  const approvers = await approversOf(tx, entityIdsOf(request.authorizations));
  return isApproved(control, approvers, prepared.token?.entityId ?? "");
}

/** What `sys/control-group` does. Made once by the composition root. */
export class HeldRequests {
  readonly #services: () => CoreServices;
  constructor(services: () => CoreServices) {
    this.#services = services;
  }

  /** How far a request is. `askerId` is the entity that asks; who may approve sees what he would approve. */
  async status(tx: Transaction, accessor: string, askerId: string): Promise<JsonObject> {
    const held = await this.#find(tx, accessor);
    const { request } = held;
    const prepared = await this.#prepare(tx, held);
    const control = prepared.decision?.controlGroup;
    const requester = await approverOf(tx, request.requester.entityId);
    const approvers = await approversOf(tx, entityIdsOf(request.authorizations));
    const asker = await approverOf(tx, askerId);
    const seesData = control && asker && approvalRefusal(control, asker, "") === undefined;
    return {
      approved: await isHeldApproved(tx, held, prepared),
      request_path: request.path,
      request_operation: request.effectiveOperation,
      ...(seesData && { request_data: request.data }),
      request_entity: { id: requester?.id ?? "", name: requester?.name ?? "" },
      authorizations: approvers.map(({ id, name }) => ({ entity_id: id, entity_name: name })),
    };
  }

  /** Notes that somebody approves; true when that is enough. Throws for who cannot. */
  async authorize(tx: Transaction, accessor: string, entityId: string): Promise<boolean> {
    const held = await this.#find(tx, accessor);
    const approver = await approverOf(tx, entityId);
    if (!approver)
      throw new CofferError("permission_denied", "the token is nobody's: log in with an auth method to approve");
    const prepared = await this.#prepare(tx, held);
    const control = prepared.decision?.controlGroup;
    if (!control) return true;
    assertMayApprove(control, approver, prepared.token?.entityId ?? "");
    const known = await approversOf(tx, entityIdsOf(held.request.authorizations));
    if (known.some(({ id }) => id === approver.id)) return isHeldApproved(tx, held, prepared);
    const timeMillis = this.#services().clock.now();
    const authorizations = [...held.request.authorizations, { entityId: approver.id, timeMillis }];
    if (authorizations.length > AUTHORIZATIONS_MAX)
      throw new CofferError("invalid_request", `${AUTHORIZATIONS_MAX} have approved already`);
    const after = { ...held, request: { ...held.request, authorizations } };
    await writeHeld(tx, after);
    return isHeldApproved(tx, after, prepared);
  }

  async #find(tx: Transaction, accessor: string): Promise<Held> {
    const held = await findHeld(tx, accessor);
    if (!this.#services().tokens.isLive(held.wrapping))
      throw new CofferError("invalid_request", "the request has expired; it must be made anew");
    return held;
  }

  #prepare(tx: Transaction, held: Held): Promise<RequestState> {
    return prepareHeld(tx, this.#services(), held, { id: "", audited: { request: true } });
  }
}

function assertMayApprove(control: ControlGroup, approver: Approver, requesterId: string): void {
  const refusal = approvalRefusal(control, approver, requesterId);
  if (refusal === "own request")
    throw new CofferError("permission_denied", "a request cannot be approved by who made it");
  if (refusal) throw permissionDenied();
}

function entityIdsOf(authorizations: Held["request"]["authorizations"]): readonly string[] {
  return authorizations.map(({ entityId }) => entityId);
}
