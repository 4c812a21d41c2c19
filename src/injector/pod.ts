// A pod as admission shows it: the few members that decide about injection, beside the JSON that is patched.
// Members that are not known here stay as they are.
import type { JsonObject } from "#common/json.ts";
import {
  boolean,
  type Infer,
  jsonObject,
  list,
  map,
  number,
  object,
  optional,
  string,
  withDefault,
} from "#common/schema.ts";

const containerShape = object({
  name: string,
  command: optional(list(string)),
  env: withDefault(list(object({ name: string })), []),
  volumeMounts: withDefault(list(object({ name: string, mountPath: string })), []),
  restartPolicy: optional(string),
  securityContext: optional(object({ runAsUser: optional(number) })),
});

const podShape = object({
  metadata: withDefault(
    object({
      labels: withDefault(map(string), {}),
      annotations: withDefault(map(string), {}),
    }),
    { labels: {}, annotations: {} },
  ),
  spec: object({
    serviceAccountName: withDefault(string, "default"),
    nodeSelector: withDefault(map(string), {}),
    os: optional(object({ name: string })),
    shareProcessNamespace: withDefault(boolean, false),
    hostNetwork: withDefault(boolean, false),
    securityContext: optional(
      object({
        runAsUser: optional(number),
        fsGroup: optional(number),
        supplementalGroups: withDefault(list(number), []),
      }),
    ),
    initContainers: withDefault(list(jsonObject), []),
    containers: list(jsonObject),
    volumes: withDefault(list(jsonObject), []),
  }),
});

export type Container = Infer<typeof containerShape> & {
  readonly json: JsonObject;
  readonly runAsUser: number | undefined;
  /** Its volumeMounts as they are. */
  readonly mountsJson: readonly JsonObject[];
};

export interface Pod {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly windows: boolean;
  readonly sharesProcesses: boolean;
  readonly hostNetwork: boolean;
  readonly runAsUser: number | undefined;
  readonly fsGroup: number | undefined;
  readonly supplementalGroups: readonly number[];
  readonly securityContext: JsonObject;
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly JsonObject[];
}

function containerOf(json: JsonObject, index: number): Container {
  const container = containerShape.parse(json, `container ${index}`);
  const mountsJson = withDefault(list(jsonObject), []).parse(json["volumeMounts"], "volumeMounts");
  return { ...container, json, runAsUser: container.securityContext?.runAsUser, mountsJson };
}

/** Reads a pod. Throws `invalid_request` naming the member that does not fit. */
export function readPod(json: JsonObject): Pod {
  const { metadata, spec } = podShape.parse(json, "");
  const rawSpec = jsonObject.parse(json["spec"], "spec");
  const os = spec.os?.name ?? spec.nodeSelector["kubernetes.io/os"];
  return {
    labels: metadata.labels,
    annotations: metadata.annotations,
    serviceAccount: spec.serviceAccountName === "" ? "default" : spec.serviceAccountName,
    windows: os === "windows",
    sharesProcesses: spec.shareProcessNamespace,
    hostNetwork: spec.hostNetwork,
    runAsUser: spec.securityContext?.runAsUser,
    fsGroup: spec.securityContext?.fsGroup,
    supplementalGroups: spec.securityContext?.supplementalGroups ?? [],
    securityContext: optional(jsonObject).parse(rawSpec["securityContext"], "spec.securityContext") ?? {},
    initContainers: spec.initContainers.map(containerOf),
    containers: spec.containers.map(containerOf),
    volumes: spec.volumes,
  };
}
