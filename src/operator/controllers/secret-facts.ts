// Reads of a Secret what may be known of it: the names of its keys and its version. Its values stay where they are.
import { isJsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { ObjectRef } from "#kube/kube-object.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import type { SecretFacts } from "../unseal-secret.ts";

/** Undefined when there is no such Secret. Throws KubeError. */
export async function readSecretFacts(
  client: KubeClient,
  ref: ObjectRef,
  signal: AbortSignal,
): Promise<SecretFacts | undefined> {
  const secret = await client.get(SECRET, ref, { signal });
  if (secret === undefined) return undefined;
  const data = isJsonObject(secret["data"]) ? secret["data"] : {};
  const keys = Object.keys(data).filter((key) => data[key] !== "");
  return { keys, version: secret.metadata.resourceVersion ?? "" };
}
