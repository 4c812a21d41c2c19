// A login refused because what the client knows is wrong. The core counts these per user and locks the user out after
// too many; other failures (a malformed request) are not counted.
import { CofferError, type ErrorCode } from "#common/errors.ts";

export class LoginRefused extends CofferError {
  /** The name by which the mount knows the user, as in Grant. */
  readonly aliasName: string;
  constructor(code: ErrorCode, message: string, aliasName: string) {
    super(code, message);
    this.name = "LoginRefused";
    this.aliasName = aliasName;
  }
}
