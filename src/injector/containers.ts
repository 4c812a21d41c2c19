// The containers and volumes that injection adds. They satisfy the Pod Security Standard "restricted" whatever the pod's
// own containers do (kubernetes.io/docs/concepts/security/pod-security-standards).
import { AGENT_CONFIG_VARIABLE, type AgentConfig } from "#common/agent-config.ts";
import type { JsonObject } from "#common/json.ts";
import type { AgentShape, Injection } from "./injection.ts";
import { applyJsonPatch } from "./json-patch.ts";
import type { Layout } from "./layout.ts";
import {
  AGENT_COMMAND,
  AGENT_CONTAINER,
  CA_DIRECTORY,
  CA_VOLUME,
  HELPER_CONTAINER,
  HELPER_DIRECTORY,
  HELPER_IN_CONTAINER,
  HELPER_IN_IMAGE,
  HELPER_VOLUME,
  READY_FILE,
  STATE_DIRECTORY,
  STATE_VOLUME,
  TOKEN_DIRECTORY,
  TOKEN_VOLUME,
  VOLUMES_DIRECTORY,
} from "./paths.ts";
import type { Pod } from "./pod.ts";
import type { InjectorSettings } from "./settings.ts";

/** User of the image; and the group of the files, which the pod's containers join. */
export const AGENT_ID = 65532;
/** The agent logs in anew long before; the API server refuses less than 600. */
const TOKEN_EXPIRATION_SECONDS = 3600;
/** A request a second for so long, then the kubelet restarts the agent, which tries on. */
const STARTUP_TRIES = 300;
/** 32 files of the largest secret (1 MiB); pages in memory count against the agent's limit until they are freed. */
const VOLUME_SIZE_LIMIT = "32Mi";
/** The helper is under 1 MiB. */
const HELPER_SIZE_LIMIT = "8Mi";

/** An idle agent needs a hundredth of a core and shares most of its memory with every other one on the machine. */
export const AGENT_RESOURCES: JsonObject = { requests: { cpu: "10m", memory: "32Mi" }, limits: { memory: "128Mi" } };

/**
 * The pod's user, so that modes such as 0400 mean the application; never root. Undefined where the cluster assigns users
 * and refuses pods that choose another.
 */
export function agentUser(pod: Pod, { assignsUsers = false }: InjectorSettings): number | undefined {
  if (pod.runAsUser !== undefined && pod.runAsUser !== 0) return pod.runAsUser;
  return assignsUsers ? undefined : AGENT_ID;
}

/** As agents are unless somebody asks for something else. */
export function usualAgent(pod: Pod, settings: InjectorSettings): AgentShape {
  const user = agentUser(pod, settings);
  return {
    user,
    group: settings.assignsUsers ? undefined : AGENT_ID,
    resources: AGENT_RESOURCES,
    isGate: true,
    ...{ env: [], mounts: [], volumes: [], patch: undefined },
  };
}

function securityContext({ user, group }: Pick<AgentShape, "user" | "group">): JsonObject {
  return {
    ...(user === undefined ? {} : { runAsUser: user }),
    ...(group === undefined ? {} : { runAsGroup: group }),
    runAsNonRoot: user !== 0,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  };
}

function base(name: string, shape: AgentShape, settings: InjectorSettings): JsonObject {
  return {
    name,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    securityContext: securityContext(shape),
    resources: shape.resources,
  };
}

/** The kubelet replaces $(NAME) in values and reads $$ as $, so every $ is doubled. */
function literal(value: string): string {
  return value.replaceAll("$", "$$$$");
}

/** The agent's container. Throws `invalid_request` when the pod's own changes to it do not fit. */
export function agentContainer(
  injection: Injection,
  config: AgentConfig,
  layout: Layout,
  settings: InjectorSettings,
): JsonObject {
  const { agent, token, caBundle } = injection;
  const tokenVolume = token.kind === "own" ? TOKEN_VOLUME : token.name;
  const mounts = [
    { name: tokenVolume, mountPath: TOKEN_DIRECTORY, readOnly: true },
    ...(caBundle === undefined ? [] : [{ name: CA_VOLUME, mountPath: CA_DIRECTORY, readOnly: true }]),
    { name: STATE_VOLUME, mountPath: STATE_DIRECTORY },
    ...layout.volumes.map((name) => ({ name, mountPath: `${VOLUMES_DIRECTORY}/${name}` })),
    ...agent.mounts,
  ];
  const gate = {
    startupProbe: {
      exec: { command: [HELPER_IN_IMAGE, "ready", READY_FILE] },
      periodSeconds: 1,
      failureThreshold: STARTUP_TRIES,
    },
  };
  const sidecar: JsonObject = { restartPolicy: "Always", ...(agent.isGate ? gate : {}) };
  const container = {
    ...base(AGENT_CONTAINER, agent, settings),
    command: AGENT_COMMAND,
    args: ["agent"],
    env: [{ name: AGENT_CONFIG_VARIABLE, value: literal(JSON.stringify(config)) }, ...agent.env],
    volumeMounts: mounts,
    ...(config.mode === "Sidecar" ? sidecar : {}),
  };
  return agent.patch === undefined ? container : applyJsonPatch(container, agent.patch);
}

/** Copies the static helper to where the pod's containers can start it. */
export function helperContainer(shape: AgentShape, settings: InjectorSettings): JsonObject {
  return {
    ...base(HELPER_CONTAINER, shape, settings),
    command: [HELPER_IN_IMAGE, "copy", HELPER_IN_CONTAINER],
    volumeMounts: [{ name: HELPER_VOLUME, mountPath: HELPER_DIRECTORY }],
  };
}

function inMemory(name: string): JsonObject {
  return { name, emptyDir: { medium: "Memory", sizeLimit: VOLUME_SIZE_LIMIT } };
}

/** All volumes that are added. */
export function addedVolumes(layout: Layout, { token, caBundle, agent }: Injection): readonly JsonObject[] {
  const ca = { name: CA_VOLUME, configMap: { name: caBundle ?? "", items: [{ key: "ca.crt", path: "ca.crt" }] } };
  return [
    ...(token.kind === "own" ? [tokenVolume(token.audience)] : []),
    ...(caBundle === undefined ? [] : [ca]),
    inMemory(STATE_VOLUME),
    ...layout.volumes.map(inMemory),
    ...(layout.needsHelper ? [{ name: HELPER_VOLUME, emptyDir: { sizeLimit: HELPER_SIZE_LIMIT } }] : []),
    ...agent.volumes,
  ];
}

function tokenVolume(audience: string | undefined): JsonObject {
  const token = {
    path: "token",
    ...(audience === undefined ? {} : { audience }),
    expirationSeconds: TOKEN_EXPIRATION_SECONDS,
  };
  return { name: TOKEN_VOLUME, projected: { sources: [{ serviceAccountToken: token }] } };
}
