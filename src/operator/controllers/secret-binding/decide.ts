// What becomes of a SecretBinding. First the plan, from resources alone: which cluster, and whether the paths may be asked
// for. Then, with what the server said, the status. Pure.

import { type BindingRole, policyName, rolesOf, tokenAudience } from "#common/binding-names.ts";
import type { Millis } from "#common/clock.ts";
import { type Finding, type Look, type Summary, summaryFindings, withoutConditions } from "#kube/conditions.ts";
import { CONFIG_MAP } from "#kube/resource-kinds.ts";
import { findCondition, holds } from "../../api/conditions.ts";
import { durationSeconds } from "../../api/duration.ts";
import { type SecretBinding, type SecretBindingStatus, sourcesOf } from "../../api/secret-binding.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { resolveVault } from "../../api/vault-ref.ts";
import { caBundleName, ownerReference, titleOf } from "../../cluster-names.ts";
import { conclude, type Decision, type DesiredObject } from "../decision.ts";
import { type BindingNamespace, refusal } from "./access.ts";
import { type Delivery, deliveryFindings, deliverySummary } from "./delivery/delivery.ts";

export const FINALIZER = "coffer.dev/secret-binding";

export type Plan =
  | { readonly kind: "suspended" }
  | { readonly kind: "refused"; readonly reason: string; readonly message: string; readonly cluster?: VaultCluster }
  | { readonly kind: "sync"; readonly cluster: VaultCluster };

export type SourceState = SecretBindingStatus["sources"][number];

/** What came of the plan. */
export type Outcome =
  | { readonly kind: "untried" }
  /** Refused, and nothing of it is on the server any more. */
  | { readonly kind: "withdrawn" }
  | { readonly kind: "unavailable"; readonly message: string }
  | {
      readonly kind: "synced";
      readonly sources: readonly SourceState[];
      /** Of the Kubernetes Secret, when the binding keeps one. */
      readonly delivery?: Delivery | undefined;
    };

export interface Observed {
  readonly binding: SecretBinding;
  readonly plan: Plan;
  readonly outcome: Outcome;
  /** All bindings of the namespace, for the names of the roles and the owners of the CA's ConfigMap. */
  readonly bindings: readonly SecretBinding[];
  /** PEM of the cluster's authorities; undefined when there is none to publish here. */
  readonly caBundle: string | undefined;
  readonly look: Look;
}

/** What is missing is looked for this often, so that a secret that is written late does not hold pods up for long. */
const MISSING_MILLIS: Millis = 10_000;
const UNAVAILABLE_MILLIS: Millis = 5000;
/** Owners that a ConfigMap names: when all of them are deleted at once, the next look at another makes it again. */
const OWNERS_MAX = 16;
/** How long "last synced" may lag behind. */
const HEARTBEAT_MILLIS: Millis = 3_600_000;
/** refreshInterval 0s stops the agents, not the operator: roles and policies are still looked after. */
const SELDOM_MILLIS: Millis = 600_000;

/** The cluster that a binding asks for and whether it may. */
export function plan(binding: SecretBinding, clusters: readonly VaultCluster[], namespace: BindingNamespace): Plan {
  if (binding.spec.suspend) return { kind: "suspended" };
  const resolved = resolveVault(binding, clusters);
  if (resolved.kind === "none") return { kind: "refused", reason: resolved.reason, message: resolved.message };
  const { cluster } = resolved;
  const paths = sourcesOf(binding.spec).map(({ path }) => path);
  const message = refusal(paths, cluster, namespace);
  if (message !== undefined) return { kind: "refused", reason: "PathNotAllowed", message, cluster };
  return { kind: "sync", cluster };
}

export interface ServerEntries {
  readonly roles: readonly BindingRole[];
  /** Names of the policies that may be there. */
  readonly policies: readonly string[];
  /** Of the tokens that the roles take. */
  readonly audience: string;
}

/** The roles and policies that a namespace has on one cluster; all others of that namespace are to go. */
export function entriesOf(
  cluster: VaultCluster,
  bindings: readonly SecretBinding[],
  clusters: readonly VaultCluster[],
  namespace: BindingNamespace,
): ServerEntries {
  const live = bindings.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const accepted = new Set(live.filter((binding) => isCarried(binding, cluster, clusters, namespace)).map(nameOf));
  const named = live.map((binding) => ({ name: nameOf(binding), serviceAccounts: binding.spec.serviceAccounts }));
  return {
    // A role without policies would only let pods log in to be refused.
    roles: rolesOf(namespace.name, named, (name) => accepted.has(name)).filter(({ policies }) => policies.length > 0),
    policies: [...accepted].map((name) => policyName(namespace.name, name)).sort(),
    audience: tokenAudience(cluster.metadata),
  };
}

/** A suspended binding keeps what it had. */
function isCarried(
  binding: SecretBinding,
  cluster: VaultCluster,
  clusters: readonly VaultCluster[],
  namespace: BindingNamespace,
): boolean {
  const found = plan(binding, clusters, namespace);
  if (found.kind === "suspended") return binding.status?.vault === titleOf(cluster) && holds(binding.status, "Synced");
  return found.kind === "sync" && titleOf(found.cluster) === titleOf(cluster);
}

function nameOf({ metadata }: SecretBinding): string {
  return metadata.name;
}

export function decide(observed: Observed): Decision<SecretBindingStatus> {
  const { binding, look, plan: planned, outcome } = observed;
  const findings = findingsOf(observed);
  const known = withoutConditions(binding.status?.conditions ?? [], ...untrueOf(binding));
  const { conditions, events: all } = conclude(known, look, findings);
  // Where all is well one event says so: thousands of bindings that begin at once are not to be three times as many.
  const ready = findings.find(({ type, status }) => type === "Ready" && status === "True");
  const events = all.filter(({ type, note }) => ready === undefined || type === "Warning" || note === ready.message);
  const base = { objects: objectsOf(observed), removals: [], events };
  const before = binding.status;
  if (planned.kind === "suspended") {
    const status = {
      ...before,
      roles: before?.roles ?? [],
      sources: before?.sources ?? [],
      observedGeneration: look.generation,
      conditions,
    };
    return { ...base, status, requeueAfterMillis: SELDOM_MILLIS };
  }
  const { namespace, name } = binding.metadata;
  const isSynced = outcome.kind === "synced";
  const cluster = planned.cluster;
  const lastSyncTime = isSynced ? syncTime(observed) : before?.lastSyncTime;
  const status: SecretBindingStatus = {
    observedGeneration: look.generation,
    ...(cluster === undefined ? {} : { vault: titleOf(cluster) }),
    ...(isSynced ? { policy: policyName(namespace, name), roles: rolesCarrying(observed) } : kept(observed)),
    sources: isSynced ? outcome.sources : unknownSources(observed),
    ...secretOf(observed),
    ...(lastSyncTime === undefined ? {} : { lastSyncTime }),
    conditions,
  };
  return { ...base, status, requeueAfterMillis: requeueAfter(observed) };
}

function findingsOf({ binding, plan: planned, outcome, look }: Observed): readonly Finding[] {
  const synced = (status: Finding["status"], reason: string, message: string): Finding => ({
    type: "Synced",
    status,
    reason,
    message,
  });
  if (planned.kind === "suspended") {
    const message = "spec.suspend is set: the server is left as it is and new pods do not receive the secrets";
    // Not Ready, for new pods get nothing; Synced stays what it was.
    return summaryFindings({ state: "reconciling", reason: "Suspended", message }).map((finding) =>
      finding.type === "Reconciling" ? { ...finding, status: "False" } : finding,
    );
  }
  if (planned.kind === "refused") {
    const { reason, message } = planned;
    return [...summaryFindings({ state: "stalled", reason, message }), synced("False", reason, message)];
  }
  if (outcome.kind === "synced") {
    const summary = summariseSources(binding, outcome.sources, outcome.delivery);
    const { delivery } = outcome;
    const told = delivery === undefined ? [] : deliveryFindings(delivery);
    const decisive = summary.state === "ready" && delivery ? (deliverySummary(delivery) ?? summary) : summary;
    return [...summaryFindings(decisive), synced("True", "Synced", "policy and roles are on the server"), ...told];
  }
  const message =
    outcome.kind === "unavailable" ? outcome.message : `VaultCluster ${titleOf(planned.cluster)} does not serve yet`;
  const summary = summaryFindings({ state: "reconciling", reason: "VaultNotReady", message });
  // What was written for this very spec is still on the server, which merely does not answer at the moment.
  const old = findCondition(binding.status, "Synced");
  const stands = old?.status === "True" && old.observedGeneration === look.generation;
  return stands ? summary : [...summary, synced("False", "VaultNotReady", message)];
}

function summariseSources(
  binding: SecretBinding,
  states: readonly SourceState[],
  delivery: Delivery | undefined,
): Summary {
  const stateOf = (name: string) => states.find((source) => source.name === name)?.state;
  const needed = sourcesOf(binding.spec).filter(({ optional }) => !optional);
  const missing = needed.filter(({ name }) => stateOf(name) === "Missing");
  if (missing.length > 0) {
    const which = missing.map(({ path, version }) => (version > 0 ? `${path} (version ${version})` : path)).join(", ");
    const message = `there is no secret at ${which}: write it, or correct the path or set optional; pods wait for it`;
    return { state: "failing", reason: "SecretMissing", message };
  }
  const denied = needed.filter(({ name }) => stateOf(name) === "Denied");
  if (denied.length > 0) {
    const which = denied.map(({ path }) => path).join(", ");
    const message = `the server does not let the operator see whether there is a secret at ${which}: is an engine mounted there, and was the server initialised with these access rules?`;
    return { state: "failing", reason: "AccessDenied", message };
  }
  const message = delivery === undefined ? "pods receive the secrets" : "the secrets are delivered";
  return { state: "ready", reason: "Synced", message };
}

/**
 * Moves only when something did, or about once an hour: with thousands of bindings a status that changes at each look
 * would keep the API server busy for nothing.
 */
function syncTime({ binding, look, outcome }: Observed): string {
  const before = binding.status?.lastSyncTime;
  const isSame =
    outcome.kind === "synced" &&
    binding.status?.observedGeneration === look.generation &&
    JSON.stringify(binding.status.sources) === JSON.stringify(outcome.sources);
  if (before !== undefined && isSame && look.now - Date.parse(before) < HEARTBEAT_MILLIS) return before;
  return new Date(look.now).toISOString().replace(/\.\d+Z$/, "Z");
}

/** Conditions that mean nothing any more since the spec does not ask for what they tell. */
function untrueOf({ spec }: SecretBinding): readonly string[] {
  if (spec.secret === undefined) return ["Delivered", "Restarted"];
  return spec.secret.restart === undefined ? ["Restarted"] : [];
}

/** What was written stays known until it is taken back. */
function secretOf({ binding, outcome }: Observed): Pick<SecretBindingStatus, "secret"> {
  if (outcome.kind === "synced" && outcome.delivery?.kind === "delivered") return { secret: outcome.delivery.state };
  const before = binding.status?.secret;
  const isGone = outcome.kind === "synced" && binding.spec.secret === undefined;
  return before === undefined || isGone ? {} : { secret: before };
}

function rolesCarrying({ binding, bindings }: Observed): readonly string[] {
  const { namespace, name } = binding.metadata;
  const named = bindings.map(({ metadata, spec }) => ({ name: metadata.name, serviceAccounts: spec.serviceAccounts }));
  const policy = policyName(namespace, name);
  return rolesOf(namespace, named).flatMap((role) => (role.policies.includes(policy) ? [role.name] : []));
}

/** What it has on the server stays in the status until it is certain that it has gone. */
function kept({ binding, outcome }: Observed): Pick<SecretBindingStatus, "policy" | "roles"> {
  const { policy, roles = [] } = binding.status ?? {};
  if (outcome.kind === "withdrawn" || policy === undefined) return { roles: [] };
  return { policy, roles };
}

function unknownSources({ binding, plan: planned, look }: Observed): readonly SourceState[] {
  const isSame = binding.status?.observedGeneration === look.generation && planned.kind === "sync";
  if (isSame && binding.status !== undefined && binding.status.sources.length > 0) return binding.status.sources;
  return sourcesOf(binding.spec).map(({ name }) => ({
    name,
    state: planned.kind === "refused" ? "Denied" : "Unknown",
  }));
}

function requeueAfter(observed: Observed): Millis {
  const { binding, plan: planned, outcome } = observed;
  if (planned.kind === "refused") return kept(observed).policy === undefined ? SELDOM_MILLIS : MISSING_MILLIS;
  if (outcome.kind !== "synced") return UNAVAILABLE_MILLIS;
  const interval = durationSeconds(binding.spec.refreshInterval) * 1000 || SELDOM_MILLIS;
  const { delivery } = outcome;
  const isWaiting =
    outcome.sources.some(({ state }) => state === "Missing" || state === "Denied") || delivery?.kind === "blocked";
  const restart = delivery?.kind === "delivered" ? delivery.restart : undefined;
  const until = restart?.kind === "waiting" ? restart.inMillis : Number.POSITIVE_INFINITY;
  return Math.min(interval, until, isWaiting ? MISSING_MILLIS : interval);
}

/** The CA's certificate for the pods of this namespace; it goes with the last of the namespace's bindings. */
function objectsOf({ binding, plan: planned, bindings, caBundle }: Observed): readonly DesiredObject[] {
  if (planned.kind !== "sync" || caBundle === undefined) return [];
  const { namespace } = binding.metadata;
  // In the cluster's own namespace the cluster has it already.
  if (planned.cluster.metadata.namespace === namespace) return [];
  const owners = bindings
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .slice(0, OWNERS_MAX)
    .map(({ metadata }) => ownerReference("SecretBinding", metadata, false));
  const metadata = {
    name: caBundleName(planned.cluster),
    namespace,
    labels: { "app.kubernetes.io/managed-by": "coffer-operator" },
    ownerReferences: owners,
  };
  return [{ kind: CONFIG_MAP, object: { metadata, data: { "ca.crt": caBundle } } }];
}
