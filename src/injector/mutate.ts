// The injector's decision: a pod, the bindings and clusters around it, and the settings give a JSON Patch or a refusal.
// Pure: no network, no clock, the same answer every time; a pod that has been injected is left alone.
import type { AgentConfig } from "#common/agent-config.ts";
import { AUTH_MOUNT, roleName, tokenAudience } from "#common/binding-names.ts";
import { CofferError, type ErrorCode } from "#common/errors.ts";
import { isJsonArray, type JsonObject, type JsonValue } from "#common/json.ts";
import { jsonObject, optional } from "#common/schema.ts";
import { durationSeconds } from "#operator/api/duration.ts";
import type { SecretBinding } from "#operator/api/secret-binding.ts";
import { BINDINGS_ANNOTATION, INJECT_LABEL, INJECTED_ANNOTATION } from "./annotations.ts";
import { AGENT_ID, addedVolumes, agentContainer, agentUser, helperContainer } from "./containers.ts";
import { deal } from "./deliveries.ts";
import { type Addition, type Layout, layOut } from "./layout.ts";
import { type Match, match, type Surroundings, titleOf } from "./match.ts";
import { AGENT_CONTAINER, CA_FILE, HELPER_CONTAINER, READY_FILE, TOKEN_FILE } from "./paths.ts";
import { type Container, type Pod, readPod } from "./pod.ts";
import type { InjectorSettings } from "./settings.ts";
import { mergeSources, type Sources } from "./sources.ts";

/** One operation of RFC 6902; `add` replaces a member that is there. */
export interface PatchOperation {
  readonly op: "add";
  readonly path: string;
  readonly value: JsonValue;
}

export type Mutation =
  /** No operations: the pod is not to be changed. */
  | { readonly kind: "allowed"; readonly patch: readonly PatchOperation[]; readonly warnings: readonly string[] }
  | { readonly kind: "denied"; readonly code: ErrorCode; readonly message: string };

/** A document in an environment variable is bounded by the kernel at 128 KiB (MAX_ARG_STRLEN), name and all. */
export const AGENT_CONFIG_BYTES_MAX = 96 * 1024;

/** The document's default; an agent that ends after the first time does not look at it. */
const UNUSED_REFRESH_SECONDS = 300;

/** Decides about a pod. Never throws for what a pod or a binding holds. */
export function mutate(json: JsonObject, surroundings: Surroundings, settings: InjectorSettings): Mutation {
  try {
    const pod = readPod(json);
    if (pod.labels[INJECT_LABEL] !== "true" || isInjected(pod)) return { kind: "allowed", patch: [], warnings: [] };
    assertInjectable(pod);
    return inject(json, pod, surroundings, settings);
  } catch (error) {
    if (error instanceof CofferError) return { kind: "denied", code: error.code, message: error.message };
    throw error;
  }
}

function hasAgent(pod: Pod): boolean {
  return [...pod.initContainers, ...pod.containers].some((container) => container.name === AGENT_CONTAINER);
}

function isInjected(pod: Pod): boolean {
  return pod.annotations[INJECTED_ANNOTATION] === "true" && hasAgent(pod);
}

function assertInjectable(pod: Pod): void {
  if (pod.windows) {
    throw new CofferError(
      "invalid_request",
      `secrets cannot be injected into pods on Windows: remove the label ${INJECT_LABEL} and read them through the API`,
    );
  }
  const taken = [...pod.initContainers, ...pod.containers].find(
    ({ name }) => name === AGENT_CONTAINER || name === HELPER_CONTAINER,
  );
  if (taken) {
    throw new CofferError(
      "invalid_request",
      `the pod already has a container named ${taken.name}: rename it, or start from a manifest that has not been injected`,
    );
  }
}

function inject(json: JsonObject, pod: Pod, surroundings: Surroundings, settings: InjectorSettings): Mutation {
  const found = match(pod, surroundings);
  const sources = mergeSources(found.bindings);
  const dealt = deal(pod, found.bindings, sources, settings.fileKeyRef);
  const layout = layOut(dealt.deliveries, settings.plainVariables);
  const config = agentConfig(pod, found, sources, layout, surroundings);
  const volumes = addedVolumes(layout, tokenAudience(found.cluster.metadata), found.cluster.status?.caBundle);
  assertVolumeNames(pod, volumes);
  const first = [
    ...(layout.needsHelper ? [helperContainer(pod, settings)] : []),
    agentContainer(pod, config, layout, settings),
  ];
  const change = (container: Container) => changed(container, layout.additions.get(container.name));
  const patch = [
    add("/metadata/annotations", annotationsOf(json, found)),
    ...groupOf(pod),
    add("/spec/volumes", [...pod.volumes, ...volumes]),
    add("/spec/initContainers", [...first, ...pod.initContainers.map(change)]),
    add("/spec/containers", pod.containers.map(change)),
  ];
  return { kind: "allowed", patch, warnings: [...dealt.warnings, ...modeWarnings(pod, found.bindings)] };
}

function add(path: string, value: JsonValue): PatchOperation {
  return { op: "add", path, value };
}

function agentConfig(
  pod: Pod,
  found: Match,
  sources: Sources,
  layout: Layout,
  { namespace, bindings }: Surroundings,
): AgentConfig {
  const named = bindings.map((b) => ({ name: b.metadata.name, serviceAccounts: b.spec.serviceAccounts }));
  const config: AgentConfig = {
    address: found.address,
    ...(found.cluster.status?.caBundle === undefined ? {} : { caFile: CA_FILE }),
    auth: { mount: AUTH_MOUNT, role: roleName(namespace, pod.serviceAccount, named), tokenFile: TOKEN_FILE },
    sources: sources.all,
    files: layout.files,
    environments: layout.environments,
    ...pace(found.bindings),
    jitterPercent: 10,
    readyFile: READY_FILE,
    labels: { namespace, bindings: found.bindings.map((b) => b.metadata.name).join(",") },
  };
  const bytes = Buffer.byteLength(JSON.stringify(config));
  if (bytes <= AGENT_CONFIG_BYTES_MAX) return config;
  throw new CofferError(
    "too_large",
    `the pod's ${found.bindings.length} SecretBindings need ${bytes} bytes of configuration, and ${AGENT_CONFIG_BYTES_MAX} are the most: deliver fewer files and variables`,
  );
}

/** One sidecar if any binding wants one, at the shortest interval that any wants. */
function pace(bindings: readonly SecretBinding[]): Pick<AgentConfig, "mode" | "refreshIntervalSeconds"> {
  const intervals = bindings.flatMap(({ spec }) => {
    const seconds = durationSeconds(spec.refreshInterval);
    return spec.mode === "Init" || seconds === 0 ? [] : [seconds];
  });
  if (intervals.length === 0) return { mode: "Init", refreshIntervalSeconds: UNUSED_REFRESH_SECONDS };
  return { mode: "Sidecar", refreshIntervalSeconds: Math.min(...intervals) };
}

function annotationsOf(json: JsonObject, found: Match): JsonObject {
  const metadata = optional(jsonObject).parse(json["metadata"], "metadata");
  return {
    ...optional(jsonObject).parse(metadata?.["annotations"], "metadata.annotations"),
    [INJECTED_ANNOTATION]: "true",
    [BINDINGS_ANNOTATION]: found.bindings.map((binding) => binding.metadata.name).join(","),
  };
}

/** The group that reads the files: the pod's fsGroup, which volumes take on, or the agent's, which all then join. */
function groupOf(pod: Pod): readonly PatchOperation[] {
  if (pod.fsGroup !== undefined || pod.supplementalGroups.includes(AGENT_ID)) return [];
  const supplementalGroups = [...pod.supplementalGroups, AGENT_ID];
  return [add("/spec/securityContext", { ...pod.securityContext, supplementalGroups })];
}

function changed({ json, command = [] }: Container, addition: Addition | undefined): JsonObject {
  if (addition === undefined) return json;
  const { mounts, env, commandPrefix } = addition;
  return {
    ...json,
    ...(commandPrefix.length === 0 ? {} : { command: [...commandPrefix, ...command] }),
    ...(env.length === 0 ? {} : { env: [...listOf(json["env"]), ...env] }),
    ...(mounts.length === 0 ? {} : { volumeMounts: [...listOf(json["volumeMounts"]), ...mounts] }),
  };
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return isJsonArray(value) ? value : [];
}

function assertVolumeNames(pod: Pod, added: readonly JsonObject[]): void {
  const names = new Set(added.map((volume) => volume["name"]));
  const taken = pod.volumes.find((volume) => names.has(volume["name"] ?? null));
  if (taken === undefined) return;
  throw new CofferError(
    "invalid_request",
    `the pod already has a volume named ${String(taken["name"])}, which is a name of the injector's: rename it`,
  );
}

/** A file that only its owner may read is of use when the application runs as that owner. */
function modeWarnings(pod: Pod, bindings: readonly SecretBinding[]): readonly string[] {
  if (pod.runAsUser === agentUser(pod)) return [];
  return bindings.flatMap((binding) =>
    binding.spec.files
      .filter(({ mode }) => (Number.parseInt(mode, 8) & 0o044) === 0)
      .map(
        ({ path, mode }) =>
          `${titleOf(binding)} writes ${path} with mode ${mode}, which only user ${agentUser(pod)} can read: set the pod's securityContext.runAsUser, or a mode such as 0440`,
      ),
  );
}
