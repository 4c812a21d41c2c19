// Which authorities the API server trusts for our webhooks: the caBundle of named webhook configurations, read and, where
// ours are missing, set. Only caBundle is ever touched, by server-side apply under a field manager of its own, so that
// the configuration stays the chart's. Two replicas writing the same bundle do no harm, hence no leader is needed.
import { isJsonArray, isJsonObject, type JsonObject } from "#common/json.ts";
import { readCertificate, splitCertificates } from "#common/x509.ts";
import type { KubeClient } from "./kube-client.ts";
import { isKubeError } from "./kube-error.ts";
import type { KubeObject } from "./kube-object.ts";
import { MUTATING_WEBHOOK_CONFIGURATION, VALIDATING_WEBHOOK_CONFIGURATION } from "./resource-kinds.ts";

export interface WebhookConfigurationRef {
  readonly kind: "Mutating" | "Validating";
  readonly name: string;
}

/**
 * Makes the configurations trust the bundle (PEM, newest authority first) where they do not yet. Gives the fingerprints
 * of the authorities that every webhook of every configuration trusted when it was read, before any write: what was
 * written just now counts from the next look on. A configuration that does not exist trusts nothing.
 */
export async function trustBundle(
  client: KubeClient,
  webhooks: readonly WebhookConfigurationRef[],
  bundlePem: string,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const trusted = await Promise.all(webhooks.map((ref) => trustIn(client, ref, bundlePem, signal)));
  const [first = new Set<string>(), ...rest] = trusted;
  return new Set([...first].filter((fingerprint) => rest.every((other) => other.has(fingerprint))));
}

async function trustIn(client: KubeClient, ref: WebhookConfigurationRef, bundlePem: string, signal: AbortSignal) {
  const kind = ref.kind === "Mutating" ? MUTATING_WEBHOOK_CONFIGURATION : VALIDATING_WEBHOOK_CONFIGURATION;
  const live = await client.get(kind, { name: ref.name }, { signal });
  if (live === undefined) return new Set<string>();
  const caBundle = Buffer.from(bundlePem).toString("base64");
  const hooks = webhooksOf(live);
  if (hooks.some((hook) => hook.caBundle !== caBundle)) {
    const change: JsonObject = {
      // With its version, so that a configuration changed meanwhile is looked at again rather than written over.
      metadata: { name: ref.name, resourceVersion: live.metadata.resourceVersion ?? "" },
      webhooks: hooks.map(({ name }) => ({ name, clientConfig: { caBundle } })),
    };
    try {
      await client.apply(kind, change, { fieldManager: `${client.fieldManager}-ca-bundle`, signal });
    } catch (error) {
      // Another replica was faster; the next look sees what it wrote.
      if (!isKubeError(error, "Conflict")) throw error;
    }
  }
  return trustedByAll(hooks.map((hook) => hook.caBundle));
}

function webhooksOf(configuration: KubeObject): readonly { name: string; caBundle: string }[] {
  const { webhooks } = configuration;
  if (webhooks === undefined || !isJsonArray(webhooks)) return [];
  return webhooks.filter(isJsonObject).map((hook) => {
    const clientConfig = isJsonObject(hook["clientConfig"]) ? hook["clientConfig"] : {};
    const { caBundle } = clientConfig;
    return { name: String(hook["name"]), caBundle: typeof caBundle === "string" ? caBundle : "" };
  });
}

function trustedByAll(bundles: readonly string[]): Set<string> {
  const sets = bundles.map((bundle) => new Set(fingerprintsOf(bundle)));
  const [first = new Set<string>(), ...rest] = sets;
  return new Set([...first].filter((fingerprint) => rest.every((other) => other.has(fingerprint))));
}

function fingerprintsOf(caBundle: string): readonly string[] {
  return splitCertificates(Buffer.from(caBundle, "base64").toString("utf8")).map(
    (pem) => readCertificate(pem).fingerprint,
  );
}
