// Step "hold": a request that needs the approval of others is kept instead of done. Its client gets a wrapping token and,
// once enough have approved, the answer by unwrapping it (perform.ts).
import { CofferError } from "#common/errors.ts";
import { allowsAnyRequester } from "../../approval/approval.ts";
import { maxApprovalSeconds } from "../../approval/approval-config.ts";
import { writeHeld } from "../../approval/held-request.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { ControlGroup } from "../../policy/control-group.ts";
import { leastOf } from "../../policy/permissions.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import { newWrappingToken, wrapInfoOf } from "../../wrapping/wrapping.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { definitionFor } from "../route.ts";

export function hold(state: RequestState, services: CoreServices): Promise<void> | undefined {
  const { tx, token, decision } = state;
  const control = decision?.controlGroup;
  return tx && token && control && keep(state, services, { tx, token, control });
}

interface Held {
  readonly tx: Transaction;
  readonly token: TokenRecord;
  readonly control: ControlGroup;
}

async function keep(state: RequestState, services: CoreServices, { tx, token, control }: Held): Promise<void> {
  const { request, operation } = state;
  // What no path serves fails now, and not when somebody has approved it.
  definitionFor(state.route, request);
  assertHoldable(state, token, control);
  const ttlSeconds = leastOf([control.ttlSeconds, await maxApprovalSeconds(tx)]);
  const wrapped = await newWrappingToken(tx, services.tokens, {
    path: request.path,
    ttlSeconds,
    ...(request.wrapFormat && { format: request.wrapFormat }),
  });
  const { path, namespace, data, query, wrapTtlSeconds, remoteAddress, remotePort, page } = request;
  await writeHeld(tx, {
    wrapping: wrapped.record,
    request: {
      operation: request.operation,
      effectiveOperation: operation,
      ...{ path, namespace, data, query, wrapTtlSeconds, remoteAddress, remotePort, page },
      requester: token,
      authorizations: [],
    },
  });
  state.wrapInfo = wrapInfoOf(wrapped);
  state.isHeld = true;
}

/** Throws for a request that must not wait: its token would outlive it, or its own maker could approve it. */
function assertHoldable({ isInline }: RequestState, token: TokenRecord, control: ControlGroup): void {
  if (isInline)
    throw new CofferError(
      "invalid_request",
      "the request needs approval, and inline authentication cannot wait for it: its token ends with the request; log in first",
    );
  if (token.entityId === "" && !allowsAnyRequester(control))
    throw new CofferError(
      "permission_denied",
      "the request needs the approval of others and the token has no entity, so that its maker could be who approves; log in with an auth method",
    );
}
