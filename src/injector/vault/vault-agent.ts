// The agent's container as a pod's annotations of vault-k8s want it.
import type { JsonObject } from "#common/json.ts";
import { AGENT_ID, agentUser } from "../containers.ts";
import type { AgentShape } from "../injection.ts";
import type { Pod } from "../pod.ts";
import type { InjectorSettings } from "../settings.ts";
import { keyOf, type VaultAnnotations, wrongAnnotation } from "./read-annotations.ts";

export interface VaultAgent {
  readonly shape: AgentShape;
  readonly warnings: readonly string[];
}

const TLS_VOLUME = "coffer-tls";
const TLS_DIRECTORY = "/vault/tls";
const EXTRA_VOLUME = "coffer-extra-secret";
const EXTRA_DIRECTORY = "/vault/custom";
/** Where the kubelet mounts the token of the ServiceAccount; the agent has one of its own. */
const ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The agent is measured to hold 60 MiB; below that it would be killed again and again. */
const MEMORY_MIN = "64Mi";
const BYTES: Readonly<Record<string, number>> = {
  "": 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** `isInit`: whether the agent ends once everything is there. Throws `invalid_request`. */
export function vaultAgent(read: VaultAnnotations, pod: Pod, isInit: boolean, settings: InjectorSettings): VaultAgent {
  const memory = memoryLimit(read);
  const secrets = [
    { which: "tlsSecret", volume: TLS_VOLUME, directory: TLS_DIRECTORY },
    { which: "extraSecret", volume: EXTRA_VOLUME, directory: EXTRA_DIRECTORY },
  ] as const;
  const given = secrets.flatMap(({ which, volume, directory }) => {
    const secretName = read.value(which);
    return secretName === undefined ? [] : [{ secretName, volume, directory }];
  });
  return {
    shape: {
      ...identityOf(read, pod, settings),
      resources: resourcesOf(read, memory.limit),
      isGate: read.known("prePopulate"),
      env: logVariables(read),
      mounts: [
        ...given.map(({ volume, directory }) => ({ name: volume, mountPath: directory, readOnly: true })),
        ...copiedMounts(read, pod),
      ],
      volumes: given.map(({ volume, secretName }) => ({ name: volume, secret: { secretName } })),
      patch: patchOf(read, isInit ? "initJsonPatch" : "jsonPatch"),
    },
    warnings: [...memory.warnings, ...unusedPatch(read, isInit)],
  };
}

function identityOf(read: VaultAnnotations, pod: Pod, settings: InjectorSettings): Pick<AgentShape, "user" | "group"> {
  const isSaid = read.has("user") || read.has("group") || read.known("sameUser");
  // As there: who names a user wants it, unless the switch is off in so many words.
  const isSet = read.has("setSecurityContext") ? read.known("setSecurityContext") : !settings.assignsUsers || isSaid;
  if (!isSet) return { user: undefined, group: undefined };
  const usual = agentUser(pod, { ...settings, assignsUsers: false });
  return {
    user: read.known("sameUser") ? userOfFirst(pod) : (read.value("user") ?? usual),
    group: read.value("group") ?? AGENT_ID,
  };
}

function userOfFirst(pod: Pod): number {
  const [first] = pod.containers;
  if (first?.runAsUser === undefined) {
    throw wrongAnnotation("sameUser", `container ${first?.name ?? ""} must state securityContext.runAsUser`);
  }
  if (first.runAsUser === 0)
    throw wrongAnnotation("sameUser", `container ${first.name} runs as root, and the agent must not`);
  return first.runAsUser;
}

function resourcesOf(read: VaultAnnotations, limit: string): JsonObject {
  const cpu = read.value("limitsCpu");
  const storage = { requests: read.value("requestsEphemeral"), limits: read.value("limitsEphemeral") };
  const ephemeral = (value: string | undefined) => (value === undefined ? {} : { "ephemeral-storage": value });
  return {
    requests: { cpu: read.known("requestsCpu"), memory: read.known("requestsMemory"), ...ephemeral(storage.requests) },
    limits: { ...(cpu === undefined ? {} : { cpu }), memory: limit, ...ephemeral(storage.limits) },
  };
}

function memoryLimit(read: VaultAnnotations): { readonly limit: string; readonly warnings: readonly string[] } {
  const limit = read.known("limitsMemory");
  const request = read.known("requestsMemory");
  if (bytesOf(limit) < bytesOf(MEMORY_MIN)) {
    const sentence = `${keyOf("limitsMemory")}: the agent needs ${MEMORY_MIN}, so ${limit} was raised to that`;
    return { limit: bytesOf(request) > bytesOf(MEMORY_MIN) ? request : MEMORY_MIN, warnings: [sentence] };
  }
  // A request beyond our own default says that there may be as much.
  if (!read.has("limitsMemory") && bytesOf(request) > bytesOf(limit)) return { limit: request, warnings: [] };
  return { limit, warnings: [] };
}

function bytesOf(quantity: string): number {
  const { amount = "0", unit = "" } = /^(?<amount>[0-9.]+)(?<unit>[A-Za-z]*)$/.exec(quantity)?.groups ?? {};
  return Number(amount) * (BYTES[unit] ?? 1);
}

function logVariables(read: VaultAnnotations): readonly JsonObject[] {
  const level = { trace: "debug", debug: "debug", info: "info", warn: "warn", error: "error", err: "error" } as const;
  return [
    ...(read.has("logLevel") ? [{ name: "COFFER_LOG_LEVEL", value: level[read.known("logLevel")] }] : []),
    ...(read.has("logFormat")
      ? [{ name: "COFFER_LOG_FORMAT", value: read.known("logFormat") === "json" ? "json" : "text" }]
      : []),
  ];
}

function copiedMounts(read: VaultAnnotations, pod: Pod): readonly JsonObject[] {
  const name = read.value("copyMounts");
  if (name === undefined) return [];
  const container = [...pod.containers, ...pod.initContainers].find((c) => c.name === name);
  if (container === undefined) throw wrongAnnotation("copyMounts", `the pod has no container ${name}`);
  return container.mountsJson.filter((mount) => mount["mountPath"] !== ACCOUNT_DIRECTORY);
}

function patchOf(read: VaultAnnotations, which: "jsonPatch" | "initJsonPatch"): AgentShape["patch"] {
  const operations = read.value(which);
  return operations && { title: keyOf(which), operations };
}

function unusedPatch(read: VaultAnnotations, isInit: boolean): readonly string[] {
  const other = isInit ? "jsonPatch" : "initJsonPatch";
  if (!read.has(other)) return [];
  const why = isInit ? "the agent ends when the files are there" : "there is one container, which stays";
  return [`${keyOf(other)} has no effect: ${why}`];
}
