// What a service of the AWS JSON 1.1 protocol is to the responder. A further service (CloudHSM v2) is one more of these.
import type { JsonObject } from "#common/json.ts";
import type { Caller } from "./access.ts";

/** Performs one operation. Throws AwsError or AuthError. */
export type Operation = (input: JsonObject, caller: Caller) => JsonObject;

export interface JsonService {
  /** As in the credential scope: "kms". */
  readonly name: string;
  /** Before the dot in X-Amz-Target: "TrentService". */
  readonly target: string;
  readonly operations: Readonly<Record<string, Operation>>;
}
