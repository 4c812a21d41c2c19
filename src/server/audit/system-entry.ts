// What the server does by itself (leases that end, keys that rotate) as audit entries of an actor "system": one line
// after it has happened, with the error when it failed.
import { randomUUID } from "node:crypto";
import type { JsonObject } from "#common/json.ts";
import type { NamespaceName } from "../framework/context.ts";
import type { AuditEntry, SystemOperation } from "./audit-entry.ts";

export interface SystemEvent {
  readonly operation: SystemOperation;
  /** Of the request that would do the same: "sys/leases/revoke". */
  readonly path: string;
  /** Where it happened; the root namespace when left out. */
  readonly namespace?: NamespaceName;
  /** Names and ids; nothing here is hidden, so no secret may be in it. */
  readonly data: JsonObject;
  readonly error?: string;
}

/** The name of the actor in `auth.display_name`. */
export const SYSTEM_ACTOR = "system";

export function systemEntry({ operation, path, namespace, data, error }: SystemEvent, timeMillis: number): AuditEntry {
  return {
    timeMillis,
    type: "system",
    auth: {
      ...{ accessor: "", clientToken: "", displayName: SYSTEM_ACTOR, policies: [], metadata: undefined, entityId: "" },
      record: {},
      ...{ tokenType: "", tokenTtlSeconds: 0, tokenIssuedAtSeconds: 0, grantingPolicies: [], allowed: true },
    },
    request: {
      ...{ id: randomUUID(), operation, path, data, nonHmacKeys: Object.keys(data), clientToken: "" },
      namespace: namespace ?? { id: "", path: "" },
      ...{ remoteAddress: "", remotePort: 0, headers: {}, wrapTtlSeconds: undefined },
      ...{ mountPath: "sys/", mountType: "system", mountAccessor: "" },
    },
    ...(error !== undefined && { error }),
  };
}
