// What etcd's errors mean for a caller: which can be tried again, and what to do about the others. etcd tells them apart
// by gRPC's status and a fixed text (api/v3rpc/rpctypes/error.go); the texts are the same from 3.4 to 3.6.
import { CofferError, messageOf } from "#common/errors.ts";
import { ConnectionError, GRPC, GrpcError } from "./grpc.ts";

const NO_SPACE = "database space exceeded";
const TOO_MANY_OPERATIONS = "too many operations in txn request";
const TOO_LARGE = "request is too large";
const COMPACTED = "required revision has been compacted";
/**
 * The member has refused before it did anything: it sees no leader, is a learner, or has too much to do. "server stopped"
 * is not among them: a member that stops says it of writes that it has proposed to the others already
 * (processInternalRaftRequestOnce in server/etcdserver/v3_server.go).
 */
const REFUSED = ["no leader", "too many requests", "not supported for learner", "not capable"];
const WRONG_CREDENTIALS = ["authentication failed", "user name is empty", "authentication is not enabled"];
const TOKEN_OVER = ["invalid auth token", "revision of auth store is old", "user name is empty"];

/** Nothing was done; another member, or this one in a moment, may do it. */
export function isRefused(error: unknown): boolean {
  if (error instanceof ConnectionError) return !error.sent;
  return error instanceof GrpcError && has(error, ...REFUSED);
}

/** The member did not do it or nobody knows; a read may simply go elsewhere. */
export function isTransient(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return error instanceof GrpcError && (error.status === GRPC.unavailable || error.status === GRPC.deadlineExceeded);
}

/** A write may have been done, now or in a moment: it may be with the members already. */
function mayBeDone(error: unknown): boolean {
  if (isRefused(error)) return false;
  return error instanceof ConnectionError || (error instanceof GrpcError && !REFUSING_STATUSES.includes(error.status));
}

/** etcd answers with these before it proposes a write, or when it has not applied it. */
const REFUSING_STATUSES: readonly number[] = [
  GRPC.invalidArgument,
  GRPC.permissionDenied,
  GRPC.resourceExhausted,
  GRPC.failedPrecondition,
  GRPC.outOfRange,
  GRPC.unauthenticated,
];

/** The token has run out or the users have changed: a new one may do. */
export const isTokenOver = (error: unknown): boolean => error instanceof GrpcError && has(error, ...TOKEN_OVER);

export const isCompacted = (error: unknown): boolean => error instanceof GrpcError && has(error, COMPACTED);

/** The configuration names the wrong user, or one without rights. */
export function isConfigurationFault(error: unknown): boolean {
  if (!(error instanceof GrpcError)) return false;
  return error.status === GRPC.permissionDenied || has(error, ...WRONG_CREDENTIALS);
}

export const isNoSpace = (error: unknown): boolean => error instanceof GrpcError && has(error, NO_SPACE);

/** The error for a caller of the storage; `what` is what could not be done: "read", "write". */
export function storageError(what: "read" | "write", error: unknown): CofferError {
  if (error instanceof CofferError) return error;
  const [code, message] = explained(what, error);
  return new CofferError(code, message, { cause: error });
}

function explained(
  what: "read" | "write",
  error: unknown,
): readonly ["unavailable" | "unconfirmed" | "too_large", string] {
  const reason = messageOf(error);
  if (error instanceof GrpcError) {
    if (has(error, TOO_MANY_OPERATIONS)) return ["too_large", TOO_MANY_OPERATIONS_MESSAGE];
    if (has(error, TOO_LARGE) || isGrpcSize(error))
      return [
        "too_large",
        `etcd does not take a request this large (${reason}); raise --max-request-bytes of its members`,
      ];
    if (has(error, NO_SPACE)) return ["unavailable", NO_SPACE_MESSAGE];
    if (isConfigurationFault(error))
      return ["unavailable", `etcd refuses this user (${reason}); check storage.username and its role on storage.path`];
  }
  if (what === "write" && mayBeDone(error))
    return [
      "unconfirmed",
      `etcd did not confirm a write, which may or may not have been done (${reason}); look, then try again`,
    ];
  return ["unavailable", `etcd could not ${what} (${reason}); try again`];
}

const TOO_MANY_OPERATIONS_MESSAGE =
  "the request touches more records than an etcd transaction takes; start etcd's members with a larger --max-txn-ops";
export const NO_SPACE_MESSAGE =
  "etcd's database is full, so nothing is written; compact and defragment it or raise --quota-backend-bytes, then `etcdctl alarm disarm`";

/** gRPC's own limit on a message answers before etcd looks at it. */
const isGrpcSize = (error: GrpcError) => error.status === GRPC.resourceExhausted && has(error, "larger than max");

const has = (error: GrpcError, ...texts: readonly string[]) => texts.some((text) => error.message.includes(text));
