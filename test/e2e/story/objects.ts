// Kubernetes objects as the story's steps look at them: by kubectl and JSON, so that what is tested is what a person
// sees. Knows nothing of Coffer but how its conditions look.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { Cluster } from "../cluster-fixture.ts";

/** A member of a member: at(pod, "status", "phase"); indexes of lists are numbers. */
export function at(value: JsonValue | undefined, ...path: readonly (string | number)[]): JsonValue | undefined {
  let found = value;
  for (const name of path) {
    if (typeof name === "number") found = isJsonArray(found) ? found[name] : undefined;
    else found = isJsonObject(found) ? found[name] : undefined;
  }
  return found;
}

export function textAt(value: JsonValue | undefined, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path);
  return typeof found === "string" ? found : "";
}

export function listAt(value: JsonValue | undefined, ...path: readonly (string | number)[]): readonly JsonValue[] {
  const found = at(value, ...path);
  return isJsonArray(found) ? found : [];
}

/** A condition as one line: "Ready=False SecretMissing: …"; empty when the object has none of this type. */
export function condition(object: JsonValue | undefined, type: string): string {
  const found = listAt(object, "status", "conditions").find((one) => textAt(one, "type") === type);
  if (found === undefined) return "";
  return `${type}=${textAt(found, "status")} ${textAt(found, "reason")}: ${textAt(found, "message")}`;
}

/** All conditions as lines. */
export function conditions(object: JsonValue | undefined): readonly string[] {
  return listAt(object, "status", "conditions").map((one) => condition(object, textAt(one, "type")));
}

/** kubectl with objects in and out. */
export class Kubectl {
  readonly #cluster: Cluster;
  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  run(...args: readonly string[]): Promise<string> {
    return this.#cluster.kubectl(args);
  }

  /** One object by "kind/name", or a list by "kind". Rejects when there is none of that name. */
  async get(what: string, namespace: string): Promise<JsonValue> {
    return parseJson(await this.run("get", what, "-n", namespace, "-o", "json"));
  }

  /** All objects of a kind, of all namespaces or those with the labels. */
  async list(kind: string, ...args: readonly string[]): Promise<readonly JsonValue[]> {
    return listAt(parseJson(await this.run("get", kind, "-o", "json", ...args)), "items");
  }

  async apply(...objects: readonly JsonObject[]): Promise<string> {
    const list = { apiVersion: "v1", kind: "List", items: objects };
    return (await this.#cluster.kubectl(["apply", "-f", "-"], JSON.stringify(list))).trim();
  }

  /** What kubectl says when it refuses; undefined when it does not. */
  async refusal(args: readonly string[], object: JsonObject): Promise<string | undefined> {
    try {
      await this.#cluster.kubectl([...args, "-f", "-"], JSON.stringify(object));
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Runs a JavaScript program in a container whose image has Node, and returns what it prints. */
  node(namespace: string, pod: string, container: string, program: string): Promise<string> {
    return this.run("exec", "-n", namespace, pod, "-c", container, "--", "/usr/local/bin/node", "-e", program);
  }

  /** The only pod with these labels that is not on its way out. */
  async pod(namespace: string, labels: string): Promise<JsonValue | undefined> {
    const pods = await this.list("pods", "-n", namespace, "-l", labels);
    return pods.find((pod) => textAt(pod, "metadata", "deletionTimestamp") === "");
  }
}

/** Whether a pod's condition Ready holds. */
export function isReady(pod: JsonValue | undefined): boolean {
  return condition(pod, "Ready").startsWith("Ready=True");
}

/** How often a pod's containers restarted, all together. */
export function restarts(pod: JsonValue | undefined): number {
  const statuses = [...listAt(pod, "status", "containerStatuses"), ...listAt(pod, "status", "initContainerStatuses")];
  return statuses.reduce<number>((sum, status) => sum + Number(at(status, "restartCount") ?? 0), 0);
}

/** Security settings that the Pod Security level "restricted" asks for. */
export const RESTRICTED_POD: JsonObject = {
  runAsNonRoot: true,
  runAsUser: 65532,
  runAsGroup: 65532,
  fsGroup: 65532,
  seccompProfile: { type: "RuntimeDefault" },
};
export const RESTRICTED_CONTAINER: JsonObject = {
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
};

export function namespaceObject(name: string): JsonObject {
  const labels = { "pod-security.kubernetes.io/enforce": "restricted", "coffer.dev/story": "true" };
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}
