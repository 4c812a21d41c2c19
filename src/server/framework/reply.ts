// What a handler answers. The core turns it into the envelope that clients know; handlers know nothing of HTTP but a
// status where a path must have its own.
import type { Readable } from "node:stream";
import type { JsonObject, JsonValue } from "#common/json.ts";
import type { TapSelection } from "#common/log-tap.ts";

/** A login that succeeded, before the core has made a token of it. */
export interface Grant {
  readonly displayName: string;
  readonly policies: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** The part of it that the method itself knows to be true, where clients choose the rest; all of it by default. */
  readonly vouched?: Readonly<Record<string, string>>;
  /** Name by which the mount knows this user; the identity's alias. */
  readonly aliasName: string;
  /** The user's groups as the mount knows them, for external groups; left out by methods that know none. */
  readonly groupNames?: readonly string[];
  readonly token: TokenParameters;
}

/** The token fields that every auth method's role carries. */
export interface TokenParameters {
  readonly ttlSeconds: number;
  readonly maxTtlSeconds: number;
  readonly explicitMaxTtlSeconds: number;
  readonly periodSeconds: number;
  readonly numUses: number;
  readonly type: "default" | "service" | "batch" | "default-service" | "default-batch";
  readonly noDefaultPolicy: boolean;
  readonly boundCidrs: readonly string[];
  /** The token is for the address that the login came from, and for no other. */
  readonly strictlyBindIp?: boolean;
  readonly boundaryPolicies: readonly string[];
}

/** A secret that ends: the core makes a lease of it and calls the backend's lease kind to end it. */
export interface SecretLease {
  /** Name of a lease kind of the backend. */
  readonly kind: string;
  readonly ttlSeconds: number;
  /** 0: the mount's maximum. */
  readonly maxTtlSeconds: number;
  readonly renewable: boolean;
  /** What revoking needs; stored with the lease, never shown. */
  readonly internal: JsonObject;
}

/** Stands for a wrapped answer. */
export interface WrapInfo {
  readonly token: string;
  readonly accessor: string;
  readonly ttl: number;
  readonly creation_time: string;
  readonly creation_path: string;
  readonly wrapped_accessor?: string;
}

/** What a login must still show, as clients see it: of each constraint, any one method. */
export type MfaRequirement = {
  readonly mfa_request_id: string;
  readonly mfa_constraints: {
    readonly [enforcement: string]: {
      readonly any: readonly {
        readonly type: string;
        readonly id: string;
        readonly uses_passcode: boolean;
        readonly name: string;
      }[];
    };
  };
};

/** A login that its second factor has let go on: which auth method let its first part succeed, and with what. */
export interface ResumedLogin {
  readonly mountPath: string;
  readonly mountUuid: string;
  /** Request path of the login. */
  readonly path: string;
  /** Whose second factor was shown: the token is for no other. */
  readonly entityId: string;
  readonly grant: Grant;
}

/** The `auth` block of an answer, as clients see it. */
export interface AuthBlock {
  readonly client_token: string;
  readonly accessor: string;
  readonly policies: readonly string[];
  readonly token_policies: readonly string[];
  readonly identity_policies?: readonly string[];
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly lease_duration: number;
  readonly renewable: boolean;
  readonly entity_id: string;
  readonly token_type: string;
  readonly orphan: boolean;
  /** Set where there is no token yet. */
  readonly mfa_requirement: MfaRequirement | null;
  readonly num_uses: number;
}

export interface Reply {
  readonly data?: JsonObject | null;
  readonly warnings?: readonly string[];
  /** Set where it is not the 200, 204 or 404 that follows from the content. */
  readonly status?: number;
  /** A secret's lease duration where there is no lease (KV v1). */
  readonly leaseSeconds?: number;
  readonly lease?: SecretLease;
  /** A lease that was moved on. */
  readonly renewedLease?: { readonly leaseId: string; readonly seconds: number; readonly renewable: boolean };
  /** A wrapping token in place of the answer. */
  readonly wrapInfo?: WrapInfo;
  readonly grant?: Grant;
  readonly resumedLogin?: ResumedLogin;
  readonly auth?: AuthBlock;
  /** Members of `data` stand at the top level as well: some `sys` reads of old. */
  readonly repeatAtTop?: boolean;
  /** The whole body instead of an envelope. */
  readonly bare?: JsonValue;
  /** With `bare` or `raw`: headers besides those that every answer has. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes with their own content type. */
  readonly raw?: { readonly contentType: string; readonly body: Uint8Array | string };
  /** Runs once the answer is audited and committed: for what ends the server's own ability to do either (seal). */
  readonly afterwards?: () => void | Promise<void>;
  /** Waits, also then, until the background has done what was left to it. What it gives is answered instead. */
  readonly awaited?: () => Promise<Reply>;
  /** Not an answer but the beginning of a stream: which events the client is to get. */
  readonly subscription?: SubscriptionOfReply;
  /** Bytes without a limit, opened once the request is audited and committed, sent as fast as the client reads. */
  readonly download?: { readonly contentType: string; open(): Promise<Readable> };
  /** The beginning of a stream of the log: which lines the client is to get. */
  readonly monitor?: TapSelection;
  /** The answer is what the request comes to that waited for approval, by the accessor of its wrapping token. */
  readonly perform?: { readonly accessor: string };
  /** An answer that was stored whole (unwrap). */
  readonly envelope?: JsonObject;
}

/** Patterns have "*" for anything; an empty one is no limit. */
export interface SubscriptionOfReply {
  readonly types: string;
  readonly namespace: string;
  readonly namespaces: readonly string[];
  readonly dataPath: string;
  /** Whether an event is wanted, by the texts behind the names that a filter may use. */
  readonly filter?: ((textOf: (name: string) => string | undefined) => boolean) | undefined;
}

export const noContent: Reply = {};

/** An answer with data. */
export function dataReply(data: JsonObject, warnings?: readonly string[]): Reply {
  return warnings && warnings.length > 0 ? { data, warnings } : { data };
}

/** Names of a list, or 404 when there are none. */
export function listReply(keys: readonly string[]): Reply | undefined {
  return keys.length === 0 ? undefined : { data: { keys } };
}
