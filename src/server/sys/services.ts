// What the sys mount is given: it is the one backend that works on the server itself.
import type { Clock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { AuditService } from "../audit/audit-service.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Ceremonies } from "../ceremony/ceremonies.ts";
import type { HeldRequests } from "../core/held.ts";
import type { InitialRecords } from "../core/initial-records.ts";
import type { Node } from "../core/node.ts";
import type { SealCopies } from "../core/seal-copies.ts";
import type { SealSet } from "../core/seal-set.ts";
import type { SealWatch } from "../core/seal-watch.ts";
import type { WholeServer } from "../core/siblings.ts";
import type { Events } from "../events/events.ts";
import type { Identity } from "../identity/identity.ts";
import type { LoginMfa } from "../identity/mfa/login-mfa.ts";
import type { Expiration } from "../leases/expiration.ts";
import type { Lockout } from "../lockout/lockout.ts";
import type { Backends } from "../mounts/backends.ts";
import type { TtlDefaults } from "../mounts/mount-info.ts";
import type { DecisionIds } from "../policy/decision-id.ts";
import type { PolicyStore } from "../policy/policy-store.ts";
import type { SealWrap } from "../seal-wrap/seal-wrap.ts";
import type { Snapshots } from "../snapshot/snapshot-service.ts";
import type { TokenService } from "../tokens/token-service.ts";

export interface SysServices {
  readonly clock: Clock;
  readonly log: Log;
  readonly node: Node;
  readonly barrier: Barrier;
  /** Made after the sys backend itself, hence a function. */
  backends(): Backends;
  readonly tokens: TokenService;
  readonly policies: PolicyStore;
  readonly identity: Identity;
  readonly expiration: Expiration;
  readonly lockout: Lockout;
  readonly loginMfa: LoginMfa;
  readonly decisions: DecisionIds;
  readonly audit: AuditService;
  readonly ttl: TtlDefaults;
  readonly events: Events;
  readonly held: HeldRequests;
  readonly whole: WholeServer;
  readonly ceremonies: Ceremonies;
  readonly snapshots: Snapshots;
  readonly seals: SealSet;
  readonly copies: SealCopies;
  readonly sealWatch: SealWatch;
  readonly sealWrap: SealWrap;
  /** Reads the seals of the configuration again. Throws `invalid_request`. */
  reloadSeals(): Promise<void>;
  /** Whether sys/raw is there. */
  readonly rawStorage: boolean;
  /** Whether sys/internal/inspect is there. */
  readonly introspection: boolean;
  /** How the process was started, without what could be secret in it. */
  readonly commandLine: readonly string[];
  readonly initial: InitialRecords;
  readonly storageType: string;
  /** Why the storage cannot be written to, or soon cannot. */
  readonly storageTrouble?: () => string | undefined;
  readonly version: string;
  readonly buildDate: string;
  /** The configuration without its secrets, for `sys/config/state/sanitized`. */
  readonly sanitizedConfig: JsonObject;
}
