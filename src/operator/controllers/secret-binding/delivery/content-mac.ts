// A keyed MAC of what a Kubernetes Secret holds, for status, where everybody who may read the binding sees it: it tells
// that the content changed and, without the key, nothing of what it is. A plain hash would let short secrets be guessed.
//
//   "v1:" base64url(HMAC-SHA256(key, canonical JSON of the content))     key: 32 bytes in a Secret of the operator's own
import { createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { encodeSorted, isJsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import { SECRET } from "#kube/resource-kinds.ts";

/** Everything about a Secret that the operator sets. */
export interface SecretContent {
  readonly type: string;
  readonly immutable: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: ReadonlyMap<string, Buffer>;
}

export interface ContentMac {
  /** The MAC of a content in the place of one binding: two bindings with the same content do not show it. */
  of(owner: string, content: SecretContent, signal: AbortSignal): Promise<string>;
}

const KEY_BYTES = 32;
const DATA_KEY = "key";

/** The key is made when it is first needed and is the same for every replica. */
export function createContentMac(client: KubeClient, ref: { namespace: string; name: string }): ContentMac {
  let loaded: Promise<KeyObject> | undefined;
  return {
    async of(owner, content, signal) {
      loaded ??= loadKey(client, ref, signal).catch((error: unknown) => {
        loaded = undefined;
        throw error;
      });
      return macOf(await loaded, owner, content);
    },
  };
}

export function macOf(key: KeyObject, owner: string, content: SecretContent): string {
  const { data, ...rest } = content;
  const values = Object.fromEntries([...data].map(([name, value]) => [name, value.toString("base64")]));
  const text = encodeSorted({ owner, ...rest, data: values });
  return `v1:${createHmac("sha256", key).update(text).digest("base64url")}`;
}

async function loadKey(
  client: KubeClient,
  ref: { namespace: string; name: string },
  signal: AbortSignal,
): Promise<KeyObject> {
  const existing = await readKey(client, ref, signal);
  if (existing !== undefined) return existing;
  const data = { [DATA_KEY]: randomBytes(KEY_BYTES).toString("base64") };
  try {
    const labels = { "app.kubernetes.io/managed-by": "coffer-operator" };
    await client.create(SECRET, { metadata: { ...ref, labels }, immutable: true, data }, { signal });
  } catch (error) {
    if (!isKubeError(error, "AlreadyExists")) throw error;
  }
  const made = await readKey(client, ref, signal);
  if (made === undefined) throw new CofferError("unavailable", `the Secret ${ref.namespace}/${ref.name} went away`);
  return made;
}

async function readKey(client: KubeClient, ref: { namespace: string; name: string }, signal: AbortSignal) {
  const secret = await client.get(SECRET, ref, { signal });
  if (secret === undefined) return undefined;
  const data = isJsonObject(secret["data"]) ? secret["data"] : {};
  const text = data[DATA_KEY];
  const bytes = Buffer.from(typeof text === "string" ? text : "", "base64");
  if (bytes.length === KEY_BYTES) return createSecretKey(bytes);
  throw new CofferError(
    "invalid_request",
    `the Secret ${ref.namespace}/${ref.name} has no key of ${KEY_BYTES} bytes: delete it, and a new one is made`,
  );
}
