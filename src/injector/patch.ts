// The JSON Patch that does to a pod what an injection says: annotations, volumes, containers. Pure.
import type { AgentConfig } from "#common/agent-config.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, type JsonObject, type JsonValue } from "#common/json.ts";
import { jsonObject, optional } from "#common/schema.ts";
import { INJECTED_ANNOTATION } from "./annotations.ts";
import { addedVolumes, agentContainer, helperContainer } from "./containers.ts";
import type { Injection } from "./injection.ts";
import { type Addition, type Layout, layOut } from "./layout.ts";
import type { Container, Pod } from "./pod.ts";
import type { InjectorSettings } from "./settings.ts";

/** One operation of RFC 6902; `add` replaces a member that is there. */
export interface PatchOperation {
  readonly op: "add";
  readonly path: string;
  readonly value: JsonValue;
}

/** A document in an environment variable is bounded by the kernel at 128 KiB (MAX_ARG_STRLEN), name and all. */
export const AGENT_CONFIG_BYTES_MAX = 96 * 1024;

/** The containers of Istio and Linkerd, by the names that their injectors give them. */
const MESH_PROXIES: ReadonlySet<string> = new Set(["istio-proxy", "linkerd-proxy"]);
const MESH_SETUPS: ReadonlySet<string> = new Set(["istio-init", "istio-validation", "linkerd-init"]);

/** `json` is the pod as it came. Throws `invalid_request` or `too_large`. */
export function patchOf(
  json: JsonObject,
  pod: Pod,
  injection: Injection,
  settings: InjectorSettings,
): readonly PatchOperation[] {
  const layout = layOut(injection.deliveries, settings.plainVariables);
  const config = configOf(injection, layout);
  const volumes = addedVolumes(layout, injection);
  assertVolumeNames(pod, volumes);
  const added = [
    ...(layout.needsHelper ? [helperContainer(injection.agent, settings)] : []),
    agentContainer(injection, config, layout, settings),
  ];
  const change = (container: Container) => changed(container, layout.additions.get(container.name));
  const own = pod.initContainers.map(change);
  const place = placeOf(pod.initContainers, injection.position);
  return [
    add("/metadata/annotations", annotationsOf(json, injection)),
    ...Object.entries(injection.spec).map(([member, value]) => add(`/spec/${member}`, value)),
    add("/spec/volumes", [...pod.volumes, ...volumes]),
    add("/spec/initContainers", own.toSpliced(place, 0, ...added)),
    add("/spec/containers", pod.containers.map(change)),
  ];
}

/**
 * Where in the list of init containers the agent goes. A mesh whose proxy is itself a native sidecar carries the agent's
 * traffic once it runs, so the agent comes behind it. One whose proxy starts with the application cuts everybody off from
 * the moment that its init container has set up the redirection, so the agent comes before that, and reaches the server
 * directly: wherever it was to be, or the pod would wait for ever.
 */
function placeOf(own: readonly Container[], position: Injection["position"]): number {
  const proxy = own.findLastIndex(({ name, restartPolicy }) => MESH_PROXIES.has(name) && restartPolicy === "Always");
  if (proxy >= 0) return position === "First" ? proxy + 1 : own.length;
  const redirection = own.findIndex(({ name }) => MESH_SETUPS.has(name));
  if (position === "First") return 0;
  return redirection >= 0 ? redirection : own.length;
}

function add(path: string, value: JsonValue): PatchOperation {
  return { op: "add", path, value };
}

function configOf({ config, title }: Injection, layout: Layout): AgentConfig {
  const { sources, mode, refreshIntervalSeconds, jitterPercent, readyFile, labels, ...server } = config;
  const whole: AgentConfig = {
    ...server,
    sources,
    files: layout.files,
    environments: layout.environments,
    ...{ mode, refreshIntervalSeconds, jitterPercent, readyFile, labels },
  };
  const bytes = Buffer.byteLength(JSON.stringify(whole));
  if (bytes <= AGENT_CONFIG_BYTES_MAX) return whole;
  throw new CofferError(
    "too_large",
    `${title} need ${bytes} bytes of configuration, and ${AGENT_CONFIG_BYTES_MAX} are the most: deliver fewer files and variables`,
  );
}

function annotationsOf(json: JsonObject, injection: Injection): JsonObject {
  const metadata = optional(jsonObject).parse(json["metadata"], "metadata");
  return {
    ...optional(jsonObject).parse(metadata?.["annotations"], "metadata.annotations"),
    [INJECTED_ANNOTATION]: "true",
    ...injection.annotations,
  };
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
