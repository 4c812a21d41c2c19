// Tells what went wrong with KMS, STS or the way to them: from the codes of AWS's and Node's errors to a SealFault and a
// sentence that says the next step. Codes: KMS API reference, "Common errors" of AWS services, Node's error codes.
import { SealError, type SealFault } from "../seal.ts";
import type { AwsKmsConfig } from "./config.ts";

/** What a fault is and what to do about it. `{key}`, `{region}` and `{endpoint}` are filled in. */
interface Diagnosis {
  readonly fault: SealFault;
  readonly transient: boolean;
  readonly sentence: string;
}

const later = (fault: SealFault, sentence: string): Diagnosis => ({ fault, transient: true, sentence });
const manual = (fault: SealFault, sentence: string): Diagnosis => ({ fault, transient: false, sentence });

const CREDENTIALS = manual(
  "CredentialsInvalid",
  "AWS does not accept the credentials ({code}): renew access_key and secret_key, or check the role of the pod's ServiceAccount",
);
const NO_CREDENTIALS = manual(
  "CredentialsInvalid",
  "no AWS credentials could be had: set access_key and secret_key, or give the pod's ServiceAccount a role (IRSA or EKS Pod Identity)",
);
const WRONG_TIME = manual(
  "CredentialsInvalid",
  "AWS does not accept the signature ({code}): check the secret key, the region {region} and this machine's clock",
);
const DENIED = manual(
  "AccessDenied",
  "AWS denies the use of key {key}: allow kms:Encrypt and kms:Decrypt on it to this identity, in its policy or in the key's",
);
const THROTTLED = later(
  "Throttled",
  "KMS throttles requests in {region}: the account's quota is used up, trying again",
);
const SERVICE = later("Unreachable", "KMS at {endpoint} answers with errors of its own ({code}): trying again");
const ABSENT = later(
  "Unreachable",
  "KMS at {endpoint} cannot be reached ({code}): check the network, DNS and the endpoint, trying again",
);
const UNTRUSTED = manual(
  "Misconfigured",
  "the certificate of {endpoint} is not trusted ({code}): give its CA to the server by NODE_EXTRA_CA_CERTS, or correct the endpoint",
);
const CIPHERTEXT = manual(
  "InvalidCiphertext",
  "KMS does not open the stored key ({code}): it was wrapped with another key, cluster name or encryption_context, or the store is damaged",
);
const UNUSABLE = manual(
  "Misconfigured",
  "KMS does not take the request ({code}): check that {key} is the id, ARN or alias of a symmetric key in {region}",
);

export const PENDING_DELETION = manual(
  "KeyPendingDeletion",
  "KMS key {key} is scheduled for deletion: cancel the deletion and enable the key, or everything it wraps is lost",
);
export const WRONG_STATE = later(
  "Failed",
  "KMS key {key} cannot be used in its present state: look at it in KMS, trying again",
);

const BY_CODE: Readonly<Record<string, Diagnosis>> = {
  DisabledException: manual("KeyDisabled", "KMS key {key} is disabled: enable it"),
  NotFoundException: manual(
    "KeyNotFound",
    "there is no KMS key {key} in {region}: check kms_key_id, region and account",
  ),
  AccessDeniedException: DENIED,
  AccessDenied: manual(
    "AccessDenied",
    "AWS denies the role {role}: check role_arn, and that its trust policy names this identity (and external_id, if it asks for one)",
  ),
  UnrecognizedClientException: CREDENTIALS,
  InvalidClientTokenId: CREDENTIALS,
  ExpiredTokenException: CREDENTIALS,
  ExpiredToken: CREDENTIALS,
  InvalidIdentityToken: CREDENTIALS,
  IDPRejectedClaim: CREDENTIALS,
  MissingAuthenticationTokenException: CREDENTIALS,
  MissingAuthenticationToken: CREDENTIALS,
  InvalidSignatureException: WRONG_TIME,
  SignatureDoesNotMatch: WRONG_TIME,
  IncompleteSignatureException: WRONG_TIME,
  RequestTimeTooSkewed: WRONG_TIME,
  CredentialsProviderError: NO_CREDENTIALS,
  TokenProviderError: NO_CREDENTIALS,
  ENOENT: manual("CredentialsInvalid", "a file with AWS credentials is missing: check web_identity_token_file"),
  ThrottlingException: THROTTLED,
  Throttling: THROTTLED,
  RequestLimitExceeded: THROTTLED,
  TooManyRequestsException: THROTTLED,
  LimitExceededException: THROTTLED,
  InvalidCiphertextException: CIPHERTEXT,
  IncorrectKeyException: CIPHERTEXT,
  InvalidKeyUsageException: UNUSABLE,
  InvalidArnException: UNUSABLE,
  ValidationException: UNUSABLE,
  ValidationError: UNUSABLE,
  UnsupportedOperationException: UNUSABLE,
  KeyUnavailableException: SERVICE,
  DependencyTimeoutException: SERVICE,
  KMSInternalException: SERVICE,
  ServiceUnavailableException: SERVICE,
  IDPCommunicationError: SERVICE,
};

/** Node's codes of a certificate that is not believed; all others of a connection mean that nobody is there. */
const CERTIFICATE =
  /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|ERROR_IN_|UNABLE_TO_|INVALID_(CA|PURPOSE)$|HOSTNAME_MISMATCH$|.*SELF_SIGNED_CERT|EPROTO$)/;
const NETWORK = /^(E[A-Z]+|UND_ERR_.*|TimeoutError|AbortError|TimedOut)$/;
/** Errors hold the one that caused them; deeper is not looked. */
const CAUSES_MAX = 5;

/** The SealError for whatever an AWS client threw. `key` is the key that was to be used. */
export function diagnose(error: unknown, config: AwsKmsConfig, key = config.keyId): SealError {
  const { code, status } = codeOf(error);
  return fault(diagnosisOf(code, status), config, { key, code: code === "" ? String(status) : code, cause: error });
}

/** A SealError of a known diagnosis. */
export function fault(
  diagnosis: Diagnosis,
  config: AwsKmsConfig,
  { key, code, cause }: { key: string; code: string; cause?: unknown },
): SealError {
  const endpoint = config.endpoint ?? `kms.${config.region}.amazonaws.com`;
  const words: Readonly<Record<string, string>> = {
    key,
    code,
    endpoint,
    region: config.region,
    role: config.role?.arn ?? "that is to be assumed",
  };
  const sentence = diagnosis.sentence.replace(/\{(\w+)\}/g, (whole, name: string) => words[name] ?? whole);
  return new SealError(diagnosis.fault, `seal ${config.name}: ${sentence}`, { transient: diagnosis.transient, cause });
}

/** KMS did not answer in time. */
export function timedOut(config: AwsKmsConfig): SealError {
  return fault(ABSENT, config, { key: config.keyId, code: `no answer within ${config.timeoutMillis / 1000} s` });
}

function diagnosisOf(code: string, status: number | undefined): Diagnosis {
  const known = Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  if (known !== undefined) return known;
  if (status === 429) return THROTTLED;
  if (status === 401 || status === 403) return DENIED;
  if (status !== undefined && status >= 500) return SERVICE;
  if (CERTIFICATE.test(code)) return UNTRUSTED;
  if (NETWORK.test(code)) return ABSENT;
  return manual("Failed", "KMS refused ({code}): look the code up in the KMS documentation");
}

interface ErrorFacts {
  readonly code: string;
  readonly status: number | undefined;
}

/** The most telling code of an error and its causes: one of the table, else Node's, else the name. */
function codeOf(error: unknown): ErrorFacts {
  const chain: Error[] = [];
  for (let e = error; e instanceof Error && chain.length < CAUSES_MAX; e = e.cause) {
    chain.push(e);
    // Node tries IPv4 and IPv6 and throws what happened to both.
    if (e instanceof AggregateError && e.errors[0] instanceof Error) chain.push(e.errors[0]);
  }
  const codes = chain.flatMap((e) => ("code" in e && typeof e.code === "string" ? [e.code, e.name] : [e.name]));
  const status = chain.map(statusOf).find((s) => s !== undefined);
  // That no credentials could be had is the least telling: STS may have said why.
  const known = codes.find((code) => Object.hasOwn(BY_CODE, code) && BY_CODE[code] !== NO_CREDENTIALS);
  const missing = codes.find((code) => Object.hasOwn(BY_CODE, code));
  const connection = codes.find((code) => CERTIFICATE.test(code) || NETWORK.test(code));
  return { code: known ?? missing ?? connection ?? chain[0]?.name ?? "", status };
}

function statusOf(error: Error): number | undefined {
  if (!("$metadata" in error) || typeof error.$metadata !== "object" || error.$metadata === null) return undefined;
  const { $metadata } = error;
  if (!("httpStatusCode" in $metadata) || typeof $metadata.httpStatusCode !== "number") return undefined;
  return $metadata.httpStatusCode;
}
