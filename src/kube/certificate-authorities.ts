// The certificate authority that the replicas of one deployment share, in a Secret: whoever starts first makes it, the
// others find it; long before it expires a second one joins it, and both are trusted until the first has expired.
// Who signs with which one when is not decided here. The Secret's data:
//
//   ca.crt, ca.key               the newest authority, PEM
//   previous.crt, previous.key   the one before, while it is valid
import { type Clock, type Millis, systemClock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import {
  type CertificateFacts,
  type CertificatePair,
  createCertificateAuthority,
  isPair,
  readCertificate,
} from "#common/x509.ts";
import type { KubeClient } from "./kube-client.ts";
import { isKubeError } from "./kube-error.ts";
import type { KubeObject, ObjectRef } from "./kube-object.ts";
import { SECRET } from "./resource-kinds.ts";

export interface Authority {
  readonly pair: CertificatePair;
  readonly facts: CertificateFacts;
}

export interface SharedAuthorityOptions {
  readonly client: KubeClient;
  /** Namespace and name of the Secret; it may exist without data, as a chart makes it. */
  readonly secret: ObjectRef;
  readonly commonName: string;
  /** Of a new authority; 365 when absent. */
  readonly days?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly log: Log;
}

const AUTHORITY_DAYS = 365;
/** A new authority joins when this part of the newest one's life is left: months for everybody to learn to trust it. */
const RENEW_PART_LEFT = 1 / 3;
/** Several replicas that start together conflict once each at most; more means something else rewrites the Secret. */
const ATTEMPTS_MAX = 10;

/**
 * The valid authorities, newest first: read from the Secret, made or renewed where needed. Throws `KubeError` when the
 * Secret cannot be read or written, `conflict` when others keep rewriting it.
 */
export async function shareAuthorities(
  options: SharedAuthorityOptions,
  signal: AbortSignal,
): Promise<readonly [Authority, ...Authority[]]> {
  const clock = options.clock ?? systemClock;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const secret = await options.client.get(SECRET, options.secret, { signal });
    const found = readAuthorities(secret, clock.now(), options.log);
    const [newest] = found;
    if (newest !== undefined && !needsSuccessor(newest.facts, clock.now())) return [newest, ...found.slice(1)];
    const made = await makeAuthority(options, clock);
    const authorities: readonly [Authority, ...Authority[]] = newest === undefined ? [made] : [made, newest];
    if (await store(options, secret, authorities, signal)) {
      options.log.info("a certificate authority was made", { serial: made.facts.serial, secret: options.secret.name });
      return authorities;
    }
  }
  throw new CofferError("conflict", `the secret ${options.secret.name} is being rewritten all the time`);
}

function needsSuccessor({ notBefore, notAfter }: CertificateFacts, now: Millis): boolean {
  return notAfter - now < (notAfter - notBefore) * RENEW_PART_LEFT;
}

async function makeAuthority(options: SharedAuthorityOptions, clock: Clock): Promise<Authority> {
  const { commonName, days = AUTHORITY_DAYS } = options;
  const pair = await createCertificateAuthority({ commonName, days, clock });
  return { pair, facts: readCertificate(pair.certificatePem) };
}

function readAuthorities(secret: KubeObject | undefined, now: Millis, log: Log): readonly Authority[] {
  const data = isJsonObject(secret?.["data"]) ? secret["data"] : {};
  return ["ca", "previous"].flatMap((name) => {
    const authority = readAuthority(data, name, log);
    return authority !== undefined && authority.facts.notAfter > now ? [authority] : [];
  });
}

// Damaged data is as good as none: a new authority heals it, an endless error would not.
function readAuthority(data: JsonObject, name: string, log: Log): Authority | undefined {
  const certificate = data[`${name}.crt`];
  const key = data[`${name}.key`];
  if (typeof certificate !== "string" || typeof key !== "string") return undefined;
  const pair = {
    certificatePem: Buffer.from(certificate, "base64").toString("utf8"),
    privateKeyPem: new SecretBytes(Buffer.from(key, "base64")),
  };
  try {
    if (isPair(pair)) return { pair, facts: readCertificate(pair.certificatePem) };
    log.error("the stored authority's key is not the certificate's, it is replaced", { name });
  } catch (error) {
    log.error("the stored authority cannot be read, it is replaced", { name, error: messageOf(error) });
  }
  return undefined;
}

/** False when another was faster. */
async function store(
  options: SharedAuthorityOptions,
  old: KubeObject | undefined,
  [newest, previous]: readonly Authority[],
  signal: AbortSignal,
): Promise<boolean> {
  const { name, namespace = "" } = options.secret;
  const data = { ...dataOf("ca", newest), ...dataOf("previous", previous) };
  try {
    if (old === undefined)
      await options.client.create(SECRET, { metadata: { name, namespace }, type: "Opaque", data }, { signal });
    else await options.client.replace(SECRET, { ...old, data }, { signal });
    return true;
  } catch (error) {
    if (isKubeError(error, "AlreadyExists", "Conflict")) return false;
    throw error;
  }
}

function dataOf(name: string, authority: Authority | undefined): JsonObject {
  if (authority === undefined) return {};
  return {
    [`${name}.crt`]: Buffer.from(authority.pair.certificatePem).toString("base64"),
    [`${name}.key`]: authority.pair.privateKeyPem.expose().toString("base64"),
  };
}
