// The server that an annotated pod logs in to, and how. A VaultCluster's address is verified by its own CA and gets a
// token of its own audience; any other server gets what vault-k8s would give it: the ServiceAccount's ordinary token.
import { tokenAudience } from "#common/binding-names.ts";
import { isJsonArray, isJsonObject, type JsonValue } from "#common/json.ts";
import type { VaultCluster } from "#operator/api/vault-cluster.ts";
import { resolveDefaultVault } from "#operator/api/vault-ref.ts";
import type { Injection, LoginToken } from "../injection.ts";
import { CA_FILE, TOKEN_DIRECTORY, TOKEN_FILE } from "../paths.ts";
import type { Pod } from "../pod.ts";
import { keyOf, type VaultAnnotations, wrongAnnotation } from "./read-annotations.ts";

export interface VaultServer {
  readonly config: Pick<
    Injection["config"],
    "address" | "caFile" | "namespace" | "tls" | "timeoutSeconds" | "retries" | "auth"
  >;
  readonly token: LoginToken;
  readonly caBundle: string | undefined;
  readonly warnings: readonly string[];
}

/** Where pods have a token of the API server's audience; the injector's own stands in for it. */
const USUAL_TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const AUTH_PARAMETERS = ["role", "token-path", "path"];

/** Finds server, trust and login. Throws `invalid_request`, or `unavailable` while a VaultCluster has no address. */
export function vaultServer(read: VaultAnnotations, pod: Pod, clusters: readonly VaultCluster[]): VaultServer {
  const { address, cluster } = serverOf(read, clusters);
  const caBundle = cluster?.status?.caBundle;
  const token = loginToken(read, pod, cluster);
  return {
    config: {
      address,
      ...trustOf(read, caBundle !== undefined),
      ...optionalMember("namespace", read.value("namespace")),
      ...(read.has("timeout") ? { timeoutSeconds: read.known("timeout") } : {}),
      ...(read.has("retries") ? { retries: read.known("retries") } : {}),
      auth: authOf(read, pod, token),
    },
    token,
    caBundle,
    warnings: trustWarnings(read, cluster !== undefined, caBundle !== undefined),
  };
}

function serverOf(
  read: VaultAnnotations,
  clusters: readonly VaultCluster[],
): { readonly address: string; readonly cluster: VaultCluster | undefined } {
  const service = read.value("service")?.replace(/\/+$/, "");
  if (service !== undefined) {
    const cluster = clusters.find(({ status }) => status?.address && sameName(status.address) === sameName(service));
    return { address: cluster?.status?.address ?? service, cluster };
  }
  const resolved = resolveDefaultVault(clusters);
  if (resolved.kind === "none") {
    throw wrongAnnotation("service", `is not set, and ${resolved.message}; or name the server by this annotation`);
  }
  const { metadata, status } = resolved.cluster;
  if (status?.address) return { address: status.address, cluster: resolved.cluster };
  throw wrongAnnotation(
    "service",
    `is not set, and VaultCluster ${metadata.namespace}/${metadata.name} has no address yet: wait until it is ready`,
  );
}

/** One Service has several names: "main.ns.svc" and "main.ns.svc.cluster.local". */
function sameName(address: string): string {
  return address.replace(/\/+$/, "").replace(".svc.cluster.local", ".svc").toLowerCase();
}

function trustOf(read: VaultAnnotations, hasOwnCa: boolean) {
  const caCert = read.value("caCert");
  const caFile = hasOwnCa ? CA_FILE : caCert;
  const certificateFile = read.value("clientCert");
  const keyFile = read.value("clientKey");
  if ((certificateFile === undefined) !== (keyFile === undefined)) {
    throw wrongAnnotation("clientCert", `and ${keyOf("clientKey")} go together`);
  }
  const tls = {
    ...(read.known("skipVerify") && !hasOwnCa ? { skipVerify: true } : {}),
    ...optionalMember("serverName", hasOwnCa ? undefined : read.value("serverName")),
    ...optionalMember("certificateFile", certificateFile),
    ...optionalMember("keyFile", keyFile),
  };
  return { ...optionalMember("caFile", caFile), ...(Object.keys(tls).length === 0 ? {} : { tls }) };
}

function trustWarnings(read: VaultAnnotations, isCluster: boolean, hasOwnCa: boolean): readonly string[] {
  const ignored = (["skipVerify", "caCert", "serverName"] as const)
    .filter((which) => hasOwnCa && read.has(which))
    .map((which) => `${keyOf(which)} has no effect: the server is verified by the CA of its VaultCluster`);
  const skips = read.known("skipVerify") && !hasOwnCa;
  const warning = `${keyOf("skipVerify")}: whoever is on the way to the server can read the pod's secrets and its token`;
  const plain = !isCluster && read.value("service")?.startsWith("http:");
  return [
    ...ignored,
    ...(skips ? [warning] : []),
    ...(plain
      ? [`${keyOf("service")} is not encrypted: whoever is on the way can read the pod's secrets and its token`]
      : []),
  ];
}

function loginToken(read: VaultAnnotations, pod: Pod, cluster: VaultCluster | undefined): LoginToken {
  const name = read.value("tokenVolume");
  if (name === undefined) {
    return { kind: "own", audience: cluster === undefined ? undefined : tokenAudience(cluster.metadata) };
  }
  if (tokenPathIn(pod, name) !== undefined) return { kind: "volume", name };
  throw wrongAnnotation("tokenVolume", `the pod has no projected volume "${name}" with a serviceAccountToken`);
}

function authOf(read: VaultAnnotations, pod: Pod, token: LoginToken): Injection["config"]["auth"] {
  const unknown = read.namesOf("authConfig").find((name) => !AUTH_PARAMETERS.includes(name.replaceAll("_", "-")));
  if (unknown !== undefined) {
    throw wrongAnnotation("authConfig", `is not a parameter that is known: ${AUTH_PARAMETERS.join(", ")} are`, unknown);
  }
  const parameter = (name: string) =>
    read.value("authConfig", name) ?? read.value("authConfig", name.replace("-", "_"));
  const role = read.value("role") ?? parameter("role");
  if (role === undefined) throw wrongAnnotation("role", "is not set: write the name of a role of the auth method");
  const given = parameter("token-path") ?? parameter("path");
  const own = token.kind === "own" ? TOKEN_FILE : `${TOKEN_DIRECTORY}/${tokenPathIn(pod, token.name) ?? ""}`;
  const mount = read.known("authPath").replace(/^\/*(auth\/)?|\/+$/g, "");
  return { mount, role, tokenFile: given === undefined || given === USUAL_TOKEN_FILE ? own : given };
}

/** Where in the projected volume the token is. */
function tokenPathIn(pod: Pod, name: string): string | undefined {
  const projected = pod.volumes.find((volume) => volume["name"] === name)?.["projected"];
  const sources = isJsonObject(projected) && isJsonArray(projected["sources"]) ? projected["sources"] : [];
  for (const source of sources) {
    const token: JsonValue | undefined = isJsonObject(source) ? source["serviceAccountToken"] : undefined;
    if (isJsonObject(token) && typeof token["path"] === "string") return token["path"];
  }
  return undefined;
}

function optionalMember<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  // A computed key widens to string; the object has this key or none.
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}
