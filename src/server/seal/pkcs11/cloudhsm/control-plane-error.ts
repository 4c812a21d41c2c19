// What goes wrong with the CloudHSM API, and what to do. It never makes a seal unusable: the HSMs are reached by the
// library, not by this. Codes: CloudHSM v2 API reference, "Common errors" of AWS services, Node's error codes.
import type { CloudHsmConfig } from "./cloudhsm-config.ts";

export type ControlPlaneFault =
  | "AccessDenied"
  | "ClusterNotFound"
  | "CredentialsInvalid"
  | "InvalidRequest"
  | "Throttled"
  | "Unreachable"
  | "Failed";

/** Its message is a sentence for an administrator. */
export class ControlPlaneError extends Error {
  readonly fault: ControlPlaneFault;
  constructor(fault: ControlPlaneFault, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "ControlPlaneError";
    this.fault = fault;
  }
}

const CREDENTIALS =
  /^(UnrecognizedClient|InvalidClientTokenId|ExpiredToken|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken|InvalidIdentityToken|CredentialsProviderError|TokenProviderError|ENOENT$)/;
const NETWORK =
  /^(E[A-Z_]+|TimeoutError|AbortError|CloudHsmInternalFailureException|CloudHsmServiceException|ServiceUnavailable.*)$/;

/** The ControlPlaneError for whatever the client threw. */
export function explainControlPlane(error: unknown, config: CloudHsmConfig): ControlPlaneError {
  if (error instanceof ControlPlaneError) return error;
  const { codes, status, detail } = factsOf(error);
  const where = config.endpoint ?? `cloudhsmv2.${config.region}.amazonaws.com`;
  const code = codes[0] ?? String(status);
  const is = (pattern: RegExp) => codes.some((each) => pattern.test(each));
  const made = (fault: ControlPlaneFault, message: string) => new ControlPlaneError(fault, message, error);
  if (is(CREDENTIALS))
    return made(
      "CredentialsInvalid",
      `AWS does not accept the credentials for CloudHSM (${code}): renew them, or check the pod's role`,
    );
  if (is(/AccessDenied/))
    return made(
      "AccessDenied",
      `AWS denies it (${detail}): allow the action to this identity; docs/guides/cloudhsm.md has the policy`,
    );
  if (is(/ResourceNotFound/))
    return made("ClusterNotFound", `CloudHSM knows no such thing in ${config.region}: ${detail}`);
  if (is(/Throttl|TooManyRequests|RequestLimit/) || status === 429)
    return made("Throttled", `the CloudHSM API throttles requests in ${config.region}`);
  if (is(/InvalidRequest|Validation/)) return made("InvalidRequest", `CloudHSM does not take the request: ${detail}`);
  if (is(NETWORK) || (status !== undefined && status >= 500))
    return made(
      "Unreachable",
      `the CloudHSM API at ${where} cannot be used (${code}): check the network and the endpoint`,
    );
  return made("Failed", `the CloudHSM API refused (${code}): ${detail}`);
}

/** Errors hold the one that caused them; deeper is not looked. */
const CAUSES_MAX = 5;

function factsOf(error: unknown): { codes: readonly string[]; status: number | undefined; detail: string } {
  const codes: string[] = [];
  let status: number | undefined;
  let depth = 0;
  for (let e = error; e instanceof Error && depth < CAUSES_MAX; e = e.cause, depth++) {
    if ("code" in e && typeof e.code === "string") codes.push(e.code);
    codes.push(e.name);
    const metadata = "$metadata" in e && typeof e.$metadata === "object" ? e.$metadata : undefined;
    if (metadata && "httpStatusCode" in metadata && typeof metadata.httpStatusCode === "number")
      status ??= metadata.httpStatusCode;
  }
  return { codes, status, detail: error instanceof Error ? messageIn(error) : String(error) };
}

/** CloudHSM's own exceptions spell the member with a capital, and the SDK does not carry it over. */
function messageIn(error: Error): string {
  const own = "Message" in error && typeof error.Message === "string" ? error.Message : "";
  return error.message === "" || error.message === "UnknownError" ? own || error.name : error.message;
}
