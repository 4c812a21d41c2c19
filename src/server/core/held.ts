// Requests that wait for approval, as the core sees them: what its requester may do now, whose approval that needs, and
// what those who approved so far come to.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import {
  type Approver,
  approvalRefusal,
  approverOf,
  approversOf,
  isApproved,
  requesterIdOf,
} from "../approval/approval.ts";
import { findHeld, type Held, writeHeld } from "../approval/held-request.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { permissionDenied } from "../framework/multi-error.ts";
import { ROOT_SCOPE } from "../namespaces/namespace-scope.ts";
import type { ControlGroup } from "../policy/control-group.ts";
import { ownView } from "../tokens/token-store.ts";
import type { CoreServices, RequestState } from "./request-state.ts";
import { identify } from "./steps/authenticate.ts";
import { authorise } from "./steps/authorise.ts";
import { namespace as enterNamespace } from "./steps/namespace.ts";
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
    ...{ tx, scope: ROOT_SCOPE, operation, warnings: [], audited: base.audited },
  };
  await enterNamespace(state, services);
  await resolve(state, services);
  await identify(state, services, token);
  await authorise(state, services);
  return state;
}

/** Whether enough have approved what a prepared request needs now. */
export async function isHeldApproved(tx: Transaction, { request }: Held, prepared: RequestState): Promise<boolean> {
  const control = prepared.decision?.controlGroup;
  if (!control) return true;
  const people = ownView(tx, request.requester);
  const approvers = await approversOf(people, entityIdsOf(request.authorizations));
  return isApproved(control, approvers, await requesterIdOf(people, prepared.token?.entityId ?? ""));
}

/** Where the asker is. Those who approve are of the requester's namespace, whose policies name their groups. */
type Place = Pick<PrivilegedContext, "transaction" | "scope">;

/** What `sys/control-group` does. Made once by the composition root. */
export class HeldRequests {
  readonly #services: () => CoreServices;
  constructor(services: () => CoreServices) {
    this.#services = services;
  }

  /** How far a request is. `askerId` is the entity that asks; who may approve sees what he would approve. */
  async status(place: Place, accessor: string, askerId: string): Promise<JsonObject> {
    const { transaction: tx } = place;
    const held = await this.#find(place, accessor);
    const { request } = held;
    const people = ownView(tx, request.requester);
    const prepared = await this.#prepare(tx, held);
    const control = prepared.decision?.controlGroup;
    const requester = await approverOf(people, request.requester.entityId);
    const approvers = await approversOf(people, entityIdsOf(request.authorizations));
    const asker = await approverOf(people, askerId);
    const seesData = control && asker && approvalRefusal(control, asker, requester?.id ?? "") !== "not in a group";
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
  async authorize(place: Place, accessor: string, entityId: string): Promise<boolean> {
    const { transaction: tx } = place;
    const held = await this.#find(place, accessor);
    const people = ownView(tx, held.request.requester);
    const approver = await approverOf(people, entityId);
    if (!approver)
      throw new CofferError("permission_denied", "the token is nobody's: log in with an auth method to approve");
    const prepared = await this.#prepare(tx, held);
    const control = prepared.decision?.controlGroup;
    if (!control) return true;
    assertMayApprove(control, approver, await requesterIdOf(people, prepared.token?.entityId ?? ""));
    const known = await approversOf(people, entityIdsOf(held.request.authorizations));
    if (known.some(({ id }) => id === approver.id)) return isHeldApproved(tx, held, prepared);
    const timeMillis = this.#services().clock.now();
    const authorizations = [...held.request.authorizations, { entityId: approver.id, timeMillis }];
    if (authorizations.length > AUTHORIZATIONS_MAX)
      throw new CofferError("invalid_request", `${AUTHORIZATIONS_MAX} have approved already`);
    const after = { ...held, request: { ...held.request, authorizations } };
    await writeHeld(tx, after);
    return isHeldApproved(tx, after, prepared);
  }

  async #find(place: Place, accessor: string): Promise<Held> {
    const held = await findHeld(place, accessor);
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
  if (refusal === "own request" && requesterId === "")
    throw new CofferError("permission_denied", "the request is of a token without an entity: nobody can approve it");
  if (refusal === "own request")
    throw new CofferError("permission_denied", "a request cannot be approved by who made it");
  if (refusal) throw permissionDenied();
}

function entityIdsOf(authorizations: Held["request"]["authorizations"]): readonly string[] {
  return authorizations.map(({ entityId }) => entityId);
}
