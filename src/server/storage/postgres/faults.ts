// What PostgreSQL's error codes (SQLSTATE, appendix A of its manual) and the network's mean for a caller. Messages name
// the server and never hold a password: the driver's texts do not.
import { CofferError, messageOf } from "#common/errors.ts";

/** The SQLSTATE or the system's code of whatever was thrown. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** Five characters, digits and capitals, and not a network code such as EPIPE: the server itself has answered. */
export function isServerError(error: unknown): boolean {
  return error instanceof Error && "severity" in error && codeOf(error)?.length === 5;
}

/** The host was not reached, whatever would have been said to it. */
export function isNetworkFault(error: unknown): boolean {
  return !isServerError(error) && /^E(?!RR_)/.test(codeOf(error) ?? "");
}

const SERIALIZATION_FAILURE = "40001";
const DEADLOCK = "40P01";
const LOCK_TIMEOUT = "55P03";
/** What was asked for has not happened and may succeed when it is asked for again. */
export function isTransient(error: unknown): boolean {
  const code = codeOf(error);
  return code === SERIALIZATION_FAILURE || code === DEADLOCK || code === LOCK_TIMEOUT;
}

/** The server does not know itself whether it has committed: CockroachDB and YugabyteDB say so. */
export const isUnknown = (error: unknown): boolean => codeOf(error) === "40003";

/** The server's table of locks is full (max_locks_per_transaction). */
export const isOutOfLocks = (error: unknown): boolean => codeOf(error) === "53200";

/** The server has become a standby or read-only: every session with it is useless. */
export const isReadOnly = (error: unknown): boolean => codeOf(error) === "25006";

/** The session is over: nothing but a new one helps. 57P..: shutdown or crash, 08...: connection. */
export function endsSession(error: unknown): boolean {
  const code = codeOf(error) ?? "";
  return !isServerError(error) || code.startsWith("57P") || code.startsWith("08") || isReadOnly(error);
}

/** Authentication, missing database, missing rights: the configuration is wrong. */
export function isConfigurationFault(error: unknown): boolean {
  const code = codeOf(error) ?? "";
  return isServerError(error) && (code.startsWith("28") || code === "3D000" || code === "42501" || code === "3F000");
}

const LIMIT_EXCEEDED = /^54/;

/** The error for a caller of the storage; `what` is what could not be done: "read", "write". */
export function storageError(what: string, error: unknown): CofferError {
  if (error instanceof CofferError) return error;
  const options = { cause: error };
  const reason = messageOf(error);
  if (LIMIT_EXCEEDED.test(codeOf(error) ?? ""))
    return new CofferError("too_large", `PostgreSQL cannot store a path or value this long (${reason})`, options);
  return new CofferError("unavailable", `PostgreSQL could not ${what} (${reason}); try again`, options);
}
