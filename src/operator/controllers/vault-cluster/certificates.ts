// The servers' certificate: issued from an authority of the cluster's own and renewed before it ends, or given in a
// Secret and only checked. The authority's key is in a Secret of its own (kube/certificate-authorities.ts), which no pod
// mounts. Servers take a new certificate while they run, so nothing restarts.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { isPair, isSignedBy, issueServerCertificate, readCertificate } from "#common/x509.ts";
import { type Authority, shareAuthorities } from "#kube/certificate-authorities.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import { durationSeconds } from "../../api/duration.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import {
  authoritySecretName,
  internalServiceName,
  objectLabels,
  serviceHost,
  tlsSecretName,
} from "../../cluster-names.ts";
import type { Applier } from "../applier.ts";

export type CertificateState =
  | {
      readonly kind: "issued" | "provided";
      readonly notAfter: Millis;
      /** PEM of the authorities to trust; undefined for those of the system. */
      readonly caBundle: string | undefined;
    }
  | {
      readonly kind: "unusable";
      readonly reason: "SecretNotFound" | "CertificateInvalid";
      readonly message: string;
    };

export interface CertificateParts {
  readonly client: KubeClient;
  readonly applier: Applier;
  readonly clock: Clock;
  readonly log: Log;
}

/** A third of its life before its end a successor joins it, so clients have a year to learn of that. */
const AUTHORITY_DAYS = 3 * 365;
/** A new authority signs only after this long: its certificate must have reached every pod's ConfigMap before. */
const AUTHORITY_SETTLING_MILLIS: Millis = 86_400_000;
const DAY_SECONDS = 86_400;

/** The names that the certificate is for. */
export function serverNames(cluster: VaultCluster): readonly string[] {
  const { name, namespace } = cluster.metadata;
  const pods = `*.${internalServiceName(cluster)}.${namespace}.svc`;
  const host = serviceHost(cluster);
  return [host, `${host}.cluster.local`, name, `${name}.${namespace}`, pods, `${pods}.cluster.local`, "localhost"];
}

/** Makes sure that there is a certificate, and says what it is. Throws KubeError. */
export async function ensureCertificate(
  parts: CertificateParts,
  cluster: VaultCluster,
  owner: JsonObject,
  signal: AbortSignal,
): Promise<CertificateState> {
  const { namespace } = cluster.metadata;
  const secret = await parts.client.get(SECRET, { namespace, name: tlsSecretName(cluster) }, { signal });
  if (cluster.spec.tls.secretRef !== undefined) return givenCertificate(cluster, secret, parts.clock.now());
  return issuedCertificate(parts, cluster, { secret, owner }, signal);
}

function givenCertificate(cluster: VaultCluster, secret: KubeObject | undefined, now: Millis): CertificateState {
  const where = `${cluster.metadata.namespace}/${tlsSecretName(cluster)}`;
  const found = readPair(secret);
  if (found === undefined) {
    const message = `the Secret ${where} of spec.tls.secretRef does not exist or lacks tls.crt or tls.key: create it, type kubernetes.io/tls`;
    return { kind: "unusable", reason: "SecretNotFound", message };
  }
  using key = found.privateKeyPem;
  const refuse = (problem: string): CertificateState => ({
    kind: "unusable",
    reason: "CertificateInvalid",
    message: `the certificate in Secret ${where} ${problem}`,
  });
  try {
    if (!isPair({ certificatePem: found.certificatePem, privateKeyPem: key }))
      return refuse("does not belong to its key");
    const { notAfter } = readCertificate(found.certificatePem);
    if (notAfter <= now) return refuse(`ended at ${new Date(notAfter).toISOString()}: renew it`);
    return { kind: "provided", notAfter, caBundle: found.caBundle };
  } catch (error) {
    return refuse(`cannot be used: ${messageOf(error)}`);
  }
}

async function issuedCertificate(
  parts: CertificateParts,
  cluster: VaultCluster,
  { secret, owner }: { secret: KubeObject | undefined; owner: JsonObject },
  signal: AbortSignal,
): Promise<CertificateState> {
  const order: CertificateOrder = {
    ...{ cluster, owner, secret, secretName: tlsSecretName(cluster), labels: objectLabels(cluster) },
    authority: { name: authoritySecretName(cluster), commonName: `${serviceHost(cluster).slice(0, 50)} CA` },
    ...{ commonName: serviceHost(cluster).slice(0, 64), dnsNames: serverNames(cluster) },
    ...{ ipAddresses: ["127.0.0.1", "::1"], usages: ["server"] },
  };
  return { kind: "issued", ...(await keepCertificate(parts, order, signal)) };
}

/** A certificate that is to be in a Secret, by an authority of the cluster's. */
export interface CertificateOrder {
  readonly cluster: VaultCluster;
  readonly owner: JsonObject;
  /** The Secret as it is. */
  readonly secret: KubeObject | undefined;
  readonly secretName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Its Secret, and the name that a new one gets. */
  readonly authority: { readonly name: string; readonly commonName: string };
  readonly commonName: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly usages: readonly ("server" | "client")[];
}

/** Makes sure that the Secret holds a certificate that is not near its end. Throws KubeError. */
export async function keepCertificate(
  parts: CertificateParts,
  order: CertificateOrder,
  signal: AbortSignal,
): Promise<{ readonly notAfter: Millis; readonly caBundle: string }> {
  const { client, applier, clock, log } = parts;
  const { cluster, owner, labels } = order;
  const ref = { namespace: cluster.metadata.namespace, name: order.authority.name };
  const { commonName } = order.authority;
  const authorities = await shareAuthorities(
    { client, secret: ref, commonName, days: AUTHORITY_DAYS, clock, log },
    signal,
  );
  try {
    const metadata = { ...ref, labels, ownerReferences: [owner] };
    await applier.apply({ kind: SECRET, object: { metadata } }, signal);
    const caBundle = authorities.map(({ pair }) => pair.certificatePem).join("");
    const current = readPair(order.secret);
    current?.privateKeyPem[Symbol.dispose]();
    const isGood = current !== undefined && isCurrent(cluster, current.certificatePem, caBundle, clock.now());
    if (isGood && current.caBundle === caBundle)
      return { notAfter: readCertificate(current.certificatePem).notAfter, caBundle };
    return { notAfter: await issue(parts, order, signerAmong(authorities, clock.now()), caBundle, signal), caBundle };
  } finally {
    for (const { pair } of authorities) pair.privateKeyPem[Symbol.dispose]();
  }
}

/** Whether a certificate can stay: for our names, of an authority that is trusted, and not near its end. */
export function isCurrent(cluster: VaultCluster, certificatePem: string, caBundle: string, now: Millis): boolean {
  try {
    const { notAfter, notBefore } = readCertificate(certificatePem);
    const renewBefore = durationSeconds(cluster.spec.tls.renewBefore) * 1000;
    // What the authority's own end has cut short is renewed with a third of its life left, not at once.
    const isFresh = notAfter - now > Math.min(renewBefore, (notAfter - notBefore) / 3);
    return isFresh && caBundle.split(/(?=-----BEGIN)/).some((ca) => isSignedBy(certificatePem, ca));
  } catch {
    // A damaged certificate is as good as none: it is issued anew.
    return false;
  }
}

function signerAmong(authorities: readonly [Authority, ...Authority[]], now: Millis): Authority {
  const settled = authorities.find(({ facts }) => now - facts.notBefore > AUTHORITY_SETTLING_MILLIS);
  return settled ?? authorities.at(-1) ?? authorities[0];
}

async function issue(
  { applier, clock, log }: CertificateParts,
  order: CertificateOrder,
  signer: Authority,
  caBundle: string,
  signal: AbortSignal,
): Promise<Millis> {
  const { cluster, owner, labels, commonName, dnsNames, ipAddresses, usages } = order;
  const left = (signer.facts.notAfter - clock.now()) / (DAY_SECONDS * 1000);
  const days = Math.min(durationSeconds(cluster.spec.tls.duration) / DAY_SECONDS, left);
  const pair = await issueServerCertificate(signer.pair, { commonName, dnsNames, ipAddresses, usages, days, clock });
  using key = pair.privateKeyPem;
  const base64 = (bytes: Buffer | string) => Buffer.from(bytes).toString("base64");
  const { namespace } = cluster.metadata;
  const metadata = { name: order.secretName, namespace, labels, ownerReferences: [owner] };
  const data = {
    "tls.crt": base64(pair.certificatePem),
    "tls.key": base64(key.expose()),
    "ca.crt": base64(caBundle),
  };
  await applier.apply({ kind: SECRET, object: { metadata, type: "kubernetes.io/tls", data } }, signal);
  const { notAfter, serial } = readCertificate(pair.certificatePem);
  log.info("a certificate was issued", { secret: order.secretName, serial, authority: signer.facts.serial });
  return notAfter;
}

/** The pair in a Secret, which need not be one; undefined when a half of it is missing. */
export function readPair(secret: KubeObject | undefined) {
  const data = isJsonObject(secret?.["data"]) ? secret["data"] : {};
  const decode = (name: string) => {
    const value = data[name];
    return typeof value === "string" && value !== "" ? Buffer.from(value, "base64") : undefined;
  };
  const certificate = decode("tls.crt");
  const key = decode("tls.key");
  if (certificate === undefined || key === undefined) return undefined;
  const certificatePem = certificate.toString("utf8");
  return { certificatePem, privateKeyPem: new SecretBytes(key), caBundle: decode("ca.crt")?.toString("utf8") };
}
