// What a pod's annotations of vault-k8s want done to it, for pods that no SecretBinding is meant for. What they may read
// is the server's to decide: the agent logs in as the pod's own ServiceAccount with the role that they name.
import { CofferError } from "#common/errors.ts";
import { type DeliveredFile, type Delivery, directoriesOf, namesAbsent } from "../deliveries.ts";
import { groupOf } from "../from-bindings.ts";
import type { Injection } from "../injection.ts";
import type { Surroundings } from "../match.ts";
import { READY_FILE } from "../paths.ts";
import type { Pod } from "../pod.ts";
import type { InjectorSettings } from "../settings.ts";
import { vaultAnnotations } from "./annotation-table.ts";
import { keyOf, readVaultAnnotations, type VaultAnnotations } from "./read-annotations.ts";
import { vaultAgent } from "./vault-agent.ts";
import { vaultProxy } from "./vault-proxy.ts";
import { type VaultSecret, vaultSecrets } from "./vault-secrets.ts";
import { vaultServer } from "./vault-server.ts";

/** Written on injected pods, as vault-k8s does, for what looks for it. */
const STATUS_ANNOTATION = keyOf("status");
const INJECTED = "injected";

/** Whether the pod asks for secrets by annotations. Throws `invalid_request` when it says so unreadably. */
export function asksByAnnotations(annotations: Readonly<Record<string, string>>): boolean {
  const text = annotations[keyOf("inject")];
  if (text === undefined || text === "") return false;
  const value = vaultAnnotations.inject.type.parse(text);
  if (value !== undefined) return value;
  throw new CofferError("invalid_request", `${keyOf("inject")}: write ${vaultAnnotations.inject.type.wanted}`);
}

/** Whether somebody says that it has been done already. */
export function saysInjected(annotations: Readonly<Record<string, string>>): boolean {
  return annotations[STATUS_ANNOTATION] === INJECTED;
}

/** Throws `invalid_request`, naming the annotation, or `unavailable` when waiting will do. */
export function injectionFromAnnotations(
  pod: Pod,
  { namespace, clusters }: Surroundings,
  settings: InjectorSettings,
): Injection {
  const read = readVaultAnnotations(pod.annotations);
  const { secrets, warnings } = vaultSecrets(read);
  const isInit = read.known("prePopulateOnly");
  const server = vaultServer(read, pod, clusters);
  const agent = vaultAgent(read, pod, isInit, settings);
  const proxy = vaultProxy(read, pod, isInit);
  const delivered = deliveriesOf(read, pod, secrets);
  const modes = secrets.map(({ mode }) => Number.parseInt(mode, 8));
  return {
    deliveries: delivered.deliveries,
    config: {
      ...server.config,
      ...proxy.config,
      sources: sourcesOf(secrets),
      mode: isInit ? "Init" : "Sidecar",
      refreshIntervalSeconds: Math.max(1, read.known("renderInterval")),
      jitterPercent: 10,
      ...(read.has("renewalThreshold") ? { replaceLeaseAt: read.known("renewalThreshold") } : {}),
      ...(revokes(read, isInit) ? {} : { revokeOnExit: false }),
      readyFile: READY_FILE,
      labels: { namespace },
    },
    agent: agent.shape,
    token: server.token,
    caBundle: server.caBundle,
    position: read.known("initFirst") ? "First" : "Last",
    spec: {
      ...(modes.every((mode) => (mode & 0o004) !== 0) ? {} : groupOf(pod)),
      ...(read.known("shareProcesses") ? { shareProcessNamespace: true } : {}),
    },
    annotations: { [STATUS_ANNOTATION]: INJECTED },
    warnings: [
      ...read.warnings,
      ...warnings,
      ...server.warnings,
      ...agent.warnings,
      ...proxy.warnings,
      ...delivered.warnings,
      ...signalWarnings(read, pod, secrets),
    ],
    title: "the pod's annotations",
  };
}

function revokes(read: VaultAnnotations, isInit: boolean): boolean {
  if (read.has("revoke")) return read.known("revoke");
  return !(isInit && read.known("token"));
}

function sourcesOf(secrets: readonly VaultSecret[]): Injection["config"]["sources"] {
  const paths = new Set(secrets.flatMap(({ content }) => (content.kind === "template" ? [] : [content.path])));
  return [...paths].map((path) => ({ name: path, path, version: 0, optional: false, raw: true }));
}

function deliveriesOf(read: VaultAnnotations, pod: Pod, secrets: readonly VaultSecret[]) {
  const wanted = read.value("containers");
  const warnings = namesAbsent(pod, keyOf("containers"), "it", wanted ?? []);
  const files = filesOf(secrets);
  const isFirst = read.known("initFirst");
  const receives = (name: string) => wanted?.includes(name) ?? true;
  const containers = [
    ...pod.initContainers.filter(({ name }) => receives(name) || isFirst),
    ...pod.containers.filter(({ name }) => receives(name)),
  ];
  const deliveries: readonly Delivery[] =
    files.length === 0
      ? []
      : containers.map((container) => ({ container, directories: directoriesOf(container, files), variables: [] }));
  return { deliveries, warnings };
}

/** A directory within another one is a folder of that one's volume, for a mount within a read-only mount fails. */
function filesOf(secrets: readonly VaultSecret[]): readonly DeliveredFile[] {
  const directories = [...new Set(secrets.map(({ directory }) => directory))];
  return secrets.map((secret) => {
    const within = directories.filter((other) => `${secret.directory}/`.startsWith(`${other}/`));
    const outermost = within.toSorted((a, b) => a.length - b.length)[0] ?? secret.directory;
    const below = secret.directory.slice(outermost.length + 1);
    return {
      owner: { id: secret.name, title: `the annotations of ${secret.name}`, directoryField: keyOf("volumePath") },
      directory: outermost,
      file: agentFile(secret, below === "" ? secret.file : `${below}/${secret.file}`),
    };
  });
}

function agentFile({ content, mode, onChange }: VaultSecret, path: string): DeliveredFile["file"] {
  const rest = { mode, ...(onChange === undefined ? {} : { onChange }) };
  switch (content.kind) {
    case "token":
      return { path, source: content.path, format: "Line", key: "id", ...rest };
    case "map":
      return { path, source: content.path, format: "VaultMap", ...rest };
    case "json":
      return { path, source: content.path, format: "VaultJSON", ...rest };
    case "template": {
      const [leftDelimiter, rightDelimiter] = content.delimiters;
      const { text, failsOnMissingKey: errorOnMissingKey } = content;
      const template = { text, errorOnMissingKey, leftDelimiter, rightDelimiter, sources: {} };
      return { path, source: "", format: "Template", template, ...rest };
    }
  }
}

function signalWarnings(read: VaultAnnotations, pod: Pod, secrets: readonly VaultSecret[]): readonly string[] {
  if (pod.sharesProcesses || read.known("shareProcesses")) return [];
  return secrets
    .filter(({ onChange }) => onChange !== undefined)
    .map(({ name }) => `${keyOf("command", name)} reaches no process without ${keyOf("shareProcesses")}: "true"`);
}
