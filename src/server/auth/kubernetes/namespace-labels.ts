// The labels of a namespace, asked of the cluster's API server as the one who reviews tokens: who asks must be allowed to
// get namespaces. Knows nothing of roles.
import { messageOf } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { map, object, string, withDefault } from "#common/schema.ts";
import type { ApiServer, CallApi } from "./api-server.ts";

export type LabelsOutcome =
  | { readonly kind: "found"; readonly labels: Readonly<Record<string, string>> }
  /** There is no such namespace, the cluster could not be asked, or did not let us ask. */
  | { readonly kind: "failed"; readonly reason: string };

const metadataSchema = object({ name: string, labels: withDefault(map(string), {}) });

/** Never throws: what goes wrong is an outcome. */
export async function namespaceLabels(call: CallApi, server: ApiServer, namespace: string): Promise<LabelsOutcome> {
  try {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
    const { status, body } = await call(server, { method: "GET", path });
    if (status === 401 || status === 403)
      return { kind: "failed", reason: `the API server does not let the reviewer get namespaces (${status})` };
    if (status !== 200) return { kind: "failed", reason: `the API server answered ${status}` };
    const found = parseJson(body);
    const { name, labels } = metadataSchema.parse(isJsonObject(found) ? found["metadata"] : undefined, "metadata");
    if (name !== namespace) return { kind: "failed", reason: "the API server answered with another namespace" };
    return { kind: "found", labels };
  } catch (error) {
    return { kind: "failed", reason: messageOf(error) };
  }
}
