// Self-initialisation: a fresh server with an auto seal runs the bootstrap requests of its configuration in the one
// transaction in which it initialises itself. Either all of it is stored or nothing, and nobody ever holds a root
// token: the requests run with every right inside the process, and the right ends with the transaction.
import { randomUUID } from "node:crypto";
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Operation } from "../framework/context.ts";
import { ROOT_SCOPE } from "../namespaces/namespace-scope.ts";
import { rootAcl } from "../policy/acl.ts";
import type { CoreServices, RequestState } from "./request-state.ts";
import { authorise } from "./steps/authorise.ts";
import { handle } from "./steps/handle.ts";
import { namespace } from "./steps/namespace.ts";
import { resolve } from "./steps/resolve.ts";

export interface BootstrapStep {
  readonly name: string;
  readonly operation: Operation;
  readonly path: string;
  readonly data: JsonObject;
  /** "" is the root namespace. */
  readonly namespace: string;
}

/** Runs the requests in order. Throws `invalid_request` naming the one that failed. */
export async function runBootstrap(
  tx: Transaction,
  requests: readonly BootstrapStep[],
  services: CoreServices,
): Promise<void> {
  for (const request of requests) {
    try {
      await runOne(tx, request, services);
    } catch (error) {
      throw new CofferError(
        "invalid_request",
        `bootstrap request "${request.name}" (${request.path}) failed: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }
}

async function runOne(tx: Transaction, step: BootstrapStep, services: CoreServices): Promise<void> {
  const operation = step.operation === "create" ? "update" : step.operation;
  const state: RequestState = {
    request: {
      id: randomUUID(),
      operation,
      path: step.path,
      namespace: step.namespace.replace(/^\/+|\/+$/g, ""),
      clientToken: "",
      data: step.data,
      query: {},
      wrapTtlSeconds: undefined,
      remoteAddress: "127.0.0.1",
      remotePort: 0,
      page: { limit: 1 },
    },
    tx,
    scope: ROOT_SCOPE,
    operation,
    acl: rootAcl,
    warnings: [],
    audited: { request: true },
  };
  await namespace(state, services);
  await resolve(state, services);
  if (state.route?.definition?.when === "always")
    throw new CofferError("invalid_request", "a bootstrap request may not work on the seal or the node itself");
  for (const run of [authorise, handle]) await run(state, services);
  const { reply } = state;
  if (reply?.afterwards)
    throw new CofferError("invalid_request", "a bootstrap request may not work on the seal or the node itself");
  if (reply?.grant || reply?.lease || reply?.auth || reply?.wrapInfo) {
    throw new CofferError(
      "invalid_request",
      "a bootstrap request may not issue tokens or leases: nobody could receive them",
    );
  }
}
