// What is known of a request while it passes the pipeline. Each step fills in its part; a conflict at commit throws all
// of it away and the request runs again (invariant I1).

import type { Clock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { AuditService } from "../audit/audit-service.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Events } from "../events/events.ts";
import type { NamespaceScope, Operation, PrivilegedContext } from "../framework/context.ts";
import type { Path } from "../framework/path.ts";
import type { AuthBlock, Reply, WrapInfo } from "../framework/reply.ts";
import type { Identity } from "../identity/identity.ts";
import type { LoginMfa } from "../identity/mfa/login-mfa.ts";
import type { Journal } from "../journal/journal.ts";
import type { Expiration } from "../leases/expiration.ts";
import type { Lockout } from "../lockout/lockout.ts";
import type { Backends, HostedBackend } from "../mounts/backends.ts";
import type { TtlDefaults } from "../mounts/mount-info.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import type { Acl } from "../policy/acl.ts";
import type { DecisionIds } from "../policy/decision-id.ts";
import type { Decision } from "../policy/permissions.ts";
import type { PolicyStore } from "../policy/policy-store.ts";
import type { Quotas, RateLimitOutcome } from "../quotas/quotas.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { TokenService } from "../tokens/token-service.ts";
import type { Node } from "./node.ts";
import type { Request } from "./request.ts";
import type { SweepCounts } from "./sweep-counts.ts";
import type { Turns } from "./turns.ts";

/** The services that steps work with; made once by the composition root. */
export interface CoreServices {
  readonly clock: Clock;
  readonly log: Log;
  readonly node: Node;
  readonly barrier: Barrier;
  readonly backends: Backends;
  readonly tokens: TokenService;
  readonly policies: PolicyStore;
  readonly identity: Identity;
  readonly expiration: Expiration;
  readonly journal: Journal;
  readonly lockout: Lockout;
  readonly loginMfa: LoginMfa;
  readonly quotas: Quotas;
  readonly decisions: DecisionIds;
  readonly audit: AuditService;
  readonly ttl: TtlDefaults;
  readonly turns: Turns;
  readonly events: Events;
  /** What the background has done. */
  readonly sweeps: SweepCounts;
  /** Who tells of events: the cluster. */
  readonly eventSource: string;
}

/** Where a request goes: the mount, its backend and the path definition that matches. */
export interface Route {
  readonly mount: MountRecord;
  readonly hosted: HostedBackend;
  /** Path below the mount. */
  readonly path: string;
  readonly definition: Path<PrivilegedContext> | undefined;
  readonly parameters: Readonly<Record<string, string>>;
}

export interface LeaseOfReply {
  readonly leaseId: string;
  readonly seconds: number;
  readonly renewable: boolean;
}

/** What all attempts at a request share of its own login. */
export interface InlineShared {
  readonly audited: { request: boolean; response: boolean };
  readonly counted: { done: boolean; rateLimit?: RateLimitOutcome };
}

export interface RequestState {
  /** As it came, until the namespace is known; then as it is in the namespace. */
  request: Request;
  /** Undefined while the server is sealed. The namespace's part of it, once that is known. */
  tx: Transaction | undefined;
  scope: NamespaceScope;
  /** The mount that serves the path, once the namespace is known. */
  mount?: MountRecord | undefined;
  operation: Operation;
  route?: Route;
  context?: PrivilegedContext;
  token?: TokenRecord;
  /** The token is the request's own and ends with it. */
  isInline?: boolean;
  /** The request's own login has written something, such as that a secret id is used up. */
  isLoginWritten?: boolean;
  acl?: Acl;
  decision?: Decision;
  reply?: Reply | undefined;
  auth?: AuthBlock;
  lease?: LeaseOfReply;
  wrapInfo?: WrapInfo;
  warnings: string[];
  /** The audit request line is written once, however often the transaction runs. */
  audited: { request: boolean };
  /** The request is counted against quotas once, however often the transaction runs. Absent where none apply. */
  readonly counted?: { done: boolean; rateLimit?: RateLimitOutcome };
  /** The same for the login that a request may bring along. */
  readonly inline?: InlineShared;
  /** It waits for approval: nothing else is done. */
  isHeld?: boolean;
  /** The request that waited for approval and is done by this one; its answer is the answer. */
  performed?: RequestState;
  /** As `audited`, for the one that is performed. */
  readonly auditedPerformed?: { request: boolean };
  /** The body that was wrapped away. */
  envelope?: JsonObject;
}
