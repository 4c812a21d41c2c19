// The certificates of an etcd cluster, of an authority of its own: the one that members show each other and to clients,
// and the one by which servers and the operator are let in. Members and servers read a new one for each new connection.
import type { JsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import { objectLabels } from "../../../cluster-names.ts";
import { type CertificateOrder, type CertificateParts, keepCertificate, readPair } from "../certificates.ts";
import type { EtcdTrust } from "./etcd-api.ts";
import { etcdAuthorityName, etcdClientTlsName, etcdName, etcdNames, etcdTlsName } from "./etcd-names.ts";

/** A common name has 64 characters at most. */
const CHARACTERS_MAX = 64;

/** Makes sure that both certificates are there; gives the authorities' certificates, in PEM. Throws KubeError. */
export async function ensureEtcdCertificates(
  parts: CertificateParts,
  cluster: VaultCluster,
  owner: JsonObject,
  signal: AbortSignal,
): Promise<string> {
  const title = `${etcdName(cluster)}.${cluster.metadata.namespace}`;
  const authority = { name: etcdAuthorityName(cluster), commonName: `${title.slice(0, CHARACTERS_MAX - 3)} CA` };
  const keep = async (more: Omit<CertificateOrder, "cluster" | "owner" | "secret" | "labels" | "authority">) => {
    const ref = { namespace: cluster.metadata.namespace, name: more.secretName };
    const secret = await parts.client.get(SECRET, ref, { signal });
    const order = { cluster, owner, secret, labels: objectLabels(cluster, "etcd"), authority, ...more };
    return keepCertificate(parts, order, signal);
  };
  const { caBundle } = await keep({
    ...{ secretName: etcdTlsName(cluster), commonName: title.slice(0, CHARACTERS_MAX) },
    // A member is a client of its peers, and through its JSON gateway of itself.
    ...{ dnsNames: etcdNames(cluster), ipAddresses: ["127.0.0.1"], usages: ["server", "client"] },
  });
  await keep({
    ...{ secretName: etcdClientTlsName(cluster), commonName: `coffer ${title}`.slice(0, CHARACTERS_MAX) },
    // Without names: etcd would look them up and compare them with the caller's address.
    ...{ dnsNames: [], ipAddresses: [], usages: ["client"] },
  });
  return caBundle;
}

/** What the operator shows to members. Undefined while there is no certificate. The key is the caller's to dispose of. */
export async function readEtcdTrust(
  client: KubeClient,
  cluster: VaultCluster,
  signal: AbortSignal,
): Promise<EtcdTrust | undefined> {
  const ref = { namespace: cluster.metadata.namespace, name: etcdClientTlsName(cluster) };
  const pair = readPair(await client.get(SECRET, ref, { signal }));
  if (pair?.caBundle === undefined) return undefined;
  return { ca: pair.caBundle, certificatePem: pair.certificatePem, privateKeyPem: pair.privateKeyPem };
}
