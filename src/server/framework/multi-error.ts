// Some errors reach clients in the form of Go's multierror. Clients print them as they are and old scripts match on
// them, so where Vault answers in this form Coffer does.
import { CofferError, type ErrorCode } from "#common/errors.ts";

export function multiError(code: ErrorCode, message: string): CofferError {
  return new CofferError(code, `1 error occurred:\n\t* ${message}\n\n`);
}

/** Refusal of a token that is valid. */
export function permissionDenied(): CofferError {
  return multiError("permission_denied", "permission denied");
}

/** Refusal without a valid token. */
export function invalidToken(): CofferError {
  return new CofferError("permission_denied", "permission denied");
}
