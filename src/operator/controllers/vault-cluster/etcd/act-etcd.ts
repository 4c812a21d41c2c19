// The etcd members of a VaultCluster within the cluster's own look: what is seen, what is decided, and one step.
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { PERSISTENT_VOLUME_CLAIM, POD } from "#kube/resource-kinds.ts";
import { runsEtcd, type VaultCluster } from "../../../api/vault-cluster.ts";
import { titleOf } from "../../../cluster-names.ts";
import type { CertificateParts } from "../certificates.ts";
import { decideEtcd, type EtcdPlan, type EtcdStep } from "./decide-etcd.ts";
import { ensureEtcdCertificates, readEtcdTrust } from "./etcd-certificates.ts";
import { claimName } from "./etcd-objects.ts";
import { type EtcdCaller, type EtcdParts, observeEtcd } from "./observe-etcd.ts";

export interface EtcdState {
  readonly plan: EtcdPlan;
  readonly caBundle: string;
  /** Takes the plan's step, if there is one. To be called when the plan's objects are applied. Never throws for a refusal. */
  step(signal: AbortSignal): Promise<void>;
}

/** Undefined when the operator runs no etcd for the cluster. Throws KubeError. */
export async function lookAtEtcd(
  parts: CertificateParts & EtcdParts,
  cluster: VaultCluster,
  owner: JsonObject,
  signal: AbortSignal,
): Promise<EtcdState | undefined> {
  if (!runsEtcd(cluster)) return undefined;
  const caBundle = await ensureEtcdCertificates(parts, cluster, owner, signal);
  const trust = await readEtcdTrust(parts.client, cluster, signal);
  if (trust === undefined) throw new Error("the certificate that was just made is gone");
  using _key = trust.privateKeyPem;
  const { observed } = await observeEtcd(parts, cluster, trust, signal);
  const plan = decideEtcd(observed);
  return { plan, caBundle, step: (aborted) => takeStep(parts, cluster, plan.step, aborted) };
}

async function takeStep(
  parts: CertificateParts & EtcdParts,
  cluster: VaultCluster,
  step: EtcdStep | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (step === undefined) return;
  const { client, log } = parts;
  const trust = await readEtcdTrust(client, cluster, signal);
  if (trust === undefined) return;
  using _key = trust.privateKeyPem;
  // Looked at again: between the look and the step, objects have been applied, and pods may have gone.
  const { observed, callerOf } = await observeEtcd(parts, cluster, trust, signal);
  const now = decideEtcd(observed).step;
  if (now === undefined || JSON.stringify(now) !== JSON.stringify(step)) return;
  const facts = { cluster: titleOf(cluster), step: step.kind, member: step.name };
  try {
    await carryOut(parts, cluster, step, { callerOf, asked: askedFor(step, observed.pods), signal });
    log.info("a step with an etcd member was taken", facts);
  } catch (error) {
    // A member that has not caught up, or a cluster that has not settled: the next look decides anew.
    report(log, facts, error);
  }
}

function report(log: Log, facts: JsonObject, error: unknown): void {
  log.warn("etcd refused a step, which is tried again", { ...facts, error: messageOf(error) });
}

/** A member that can answer for the others. */
function askedFor(
  step: EtcdStep,
  pods: readonly { name: string; answer: { leader: string; isLearner: boolean } | undefined }[],
) {
  if (step.kind === "defragment") return step.name;
  const able = pods.filter(({ answer }) => answer !== undefined && !answer.isLearner && answer.leader !== "0");
  return able.find(({ name }) => name !== step.name)?.name ?? able[0]?.name ?? "";
}

async function carryOut(
  { client }: EtcdParts,
  cluster: VaultCluster,
  step: EtcdStep,
  { callerOf, asked, signal }: { callerOf: EtcdCaller; asked: string; signal: AbortSignal },
): Promise<void> {
  const { namespace } = cluster.metadata;
  if (step.kind === "discard")
    await client.delete(PERSISTENT_VOLUME_CLAIM, { namespace, name: claimName(step.name) }, { signal });
  if (step.kind === "restart" || step.kind === "discard") {
    await client.delete(POD, { namespace, name: step.name }, { signal });
    return;
  }
  const api = callerOf(asked);
  if (api === undefined) return;
  if (step.kind === "add") await api.addLearner(step.peer);
  else if (step.kind === "promote") await api.promote(step.id);
  else if (step.kind === "remove") await api.remove(step.id);
  else if (step.kind === "defragment") await api.defragment();
  else await api.disarm(step.id);
}
