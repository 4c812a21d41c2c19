// Brings a SecretBinding to its server and back: finds the cluster, writes policy and roles as the operator's role, sees
// which secrets exist, publishes the CA for the pods, and cleans up when the binding goes.
import { createHash } from "node:crypto";
import { ApiError } from "#client/api-error.ts";
import type { Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { encodeSorted, isJsonObject } from "#common/json.ts";
import { jitterMillis } from "#kube/backoff.ts";
import { createController } from "#kube/controller.ts";
import { withDeadline } from "#kube/deadline.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import type { Change } from "#kube/reflector.ts";
import { CONFIG_MAP } from "#kube/resource-kinds.ts";
import { holds } from "../../api/conditions.ts";
import { resourceKind } from "../../api/resource.ts";
import { type SecretBinding, secretBinding, sourcesOf } from "../../api/secret-binding.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { caBundleName, titleOf } from "../../cluster-names.ts";
import { managesNamespace } from "../../settings.ts";
import type { ControllerParts, ControllerType } from "../controller-type.ts";
import { createKeyedLock, type KeyedLock } from "../keyed-lock.ts";
import type { BindingNamespace } from "./access.ts";
import { type ChangeFeeds, createChangeFeeds, writtenPaths } from "./change-feed.ts";
import { decide, entriesOf, FINALIZER, type Outcome, type Plan, plan } from "./decide.ts";
import type { Delivery } from "./delivery/delivery.ts";
import { deliveryParts, type KeeperParts, keepersOf, keepSecret, removeSecret } from "./delivery/keeper.ts";
import { changesBindings, changesLabels, changesNeighbours, isOwnWrite } from "./interest.ts";
import {
  CHECKED_MILLIS,
  createServerMemory,
  pruneNamespace,
  type ServerMemory,
  syncBinding,
  syncRolesOf,
} from "./server-entries.ts";

const KIND = resourceKind(secretBinding);
const NAME = "secret-binding";
/** A server that is away or gone keeps a deleted binding no longer than this. */
const CLEANUP_MILLIS: Millis = 60_000;
/** One attempt at cleaning up. */
const CLEANUP_CALL_MILLIS: Millis = 10_000;
/** Events are told at best effort, so the interval goes on, slower. What is asked for more often is meant. */
const TOLD_STRETCH = 6;
const TOLD_FROM_MILLIS: Millis = 60_000;
/** Many bindings wait for one another's network, not for the processor. */
const CONCURRENCY = 20;

interface Parts extends KeeperParts {
  readonly feeds: ChangeFeeds;
  /** Roles belong to a namespace, so two bindings of one must not write them at the same time from different states. */
  readonly lock: KeyedLock;
  /** What a namespace's entries were when the server last had them. */
  readonly written: Map<string, Written>;
  /** CAs of clusters by the key of their ConfigMap. */
  readonly bundles: Map<string, { readonly version: string | undefined; readonly bundle: string | undefined }>;
  /** By the title of the cluster. */
  readonly memories: Map<string, ServerMemory>;
}

interface Written {
  readonly hash: string;
  /** Of roles and policies. */
  readonly names: ReadonlySet<string>;
  readonly prunedAt: Millis;
}

export const secretBindingController: ControllerType = {
  name: NAME,
  create(given) {
    const ownVersions = new Map<string, string>();
    const delivery = deliveryParts(given, ownVersions);
    const feeds = createChangeFeeds({
      ...{ servers: given.servers, clock: given.clock, log: given.log },
      clusters: () => given.watches.clusters.list().filter((one) => isManaged(given, one) && canServe(one)),
      onChange: (title, path) => enqueueTold(title, path),
    });
    const parts: Parts = {
      ...given,
      ...{ delivery, feeds },
      lock: createKeyedLock(),
      written: new Map(),
      memories: new Map(),
      bundles: new Map(),
    };
    const { watches, clock, log, metrics } = parts;
    const inNamespace = (namespace: string | undefined) =>
      watches.bindings.list(namespace).map(({ metadata }) => keyOf(metadata));
    const controller = createController({
      name: NAME,
      sources: [
        {
          reflector: watches.bindings.reflector,
          keysOf: (change) => (isOwnWrite(change) ? [] : [keyOf(change.object.metadata)]),
        },
        {
          reflector: watches.bindings.reflector,
          priority: "refresh",
          keysOf: (change) => (changesNeighbours(change) ? inNamespace(change.object.metadata.namespace) : []),
        },
        {
          reflector: watches.clusters.reflector,
          priority: "refresh",
          keysOf: (change) => (changesBindings(change) ? inNamespace(undefined) : []),
        },
        {
          reflector: watches.namespaces,
          priority: "refresh",
          keysOf: (change) => (changesLabels(change) ? inNamespace(change.object.metadata.name) : []),
        },
        ...watches.kept.reflectors.map((reflector) => ({
          reflector,
          keysOf: (change: Change) => keepersOf(parts, ownVersions, change),
        })),
      ],
      reconcile: (key, signal) => reconcile(parts, key, signal),
      concurrency: CONCURRENCY,
      clock,
      log,
      metrics,
    });
    const enqueueTold = (title: string, path: string | undefined) => {
      const paths = path === undefined ? undefined : new Set(writtenPaths(path));
      for (const { metadata, spec, status } of watches.bindings.list()) {
        if (status?.vault !== title) continue;
        if (paths === undefined) controller.enqueue(keyOf(metadata), "refresh");
        else if (sourcesOf(spec).some((source) => paths.has(source.path))) controller.enqueue(keyOf(metadata));
      }
    };
    return {
      ...controller,
      async run(signal) {
        await Promise.all([controller.run(signal), feeds.run(signal)]);
      },
    };
  },
};

async function reconcile(parts: Parts, key: string, signal: AbortSignal) {
  const { watches, applier, clock } = parts;
  const binding = watches.bindings.get(key);
  const object = watches.bindings.reflector.get(key);
  if (binding === undefined || object === undefined) return undefined;
  const subject = { kind: KIND, object };
  if (binding.metadata.deletionTimestamp !== undefined) return remove(parts, binding, object, signal);
  const planned = plan(binding, watches.clusters.list(), namespaceOf(parts, binding));
  if (planned.kind !== "suspended" && planned.cluster !== undefined && !isManaged(parts, planned.cluster))
    return undefined;
  // Before the first thing that has to be cleaned up.
  if (planned.kind === "sync") await applier.setFinalizer(subject, FINALIZER, true, signal);
  const outcome = await carryOut(parts, binding, planned, signal);
  const decision = decide({
    ...{ binding, plan: planned, outcome },
    bindings: watches.bindings.list(binding.metadata.namespace),
    caBundle: planned.kind === "sync" ? await caBundleOf(parts, planned.cluster, signal) : undefined,
    look: { now: clock.now(), generation: binding.metadata.generation },
  });
  await applier.carryOut(subject, decision, signal);
  return { requeueAfterMillis: nextLook(parts, planned, outcome, decision.requeueAfterMillis) };
}

/** Whether a look is due by a time of its own, whatever changes. */
function isRestless(delivery: Delivery | undefined): boolean {
  return delivery?.kind === "blocked" || (delivery?.kind === "delivered" && delivery.restart?.kind === "waiting");
}

/** Spread, so that thousands do not come at one instant; seldom where the server tells what changes. */
function nextLook({ feeds }: Parts, planned: Plan, outcome: Outcome, millis: Millis): Millis {
  const isTold =
    planned.kind === "sync" &&
    feeds.isLive(planned.cluster) &&
    outcome.kind === "synced" &&
    !isRestless(outcome.delivery) &&
    outcome.sources.every(({ state }) => state === "Fresh");
  const base = isTold && millis >= TOLD_FROM_MILLIS ? millis * TOLD_STRETCH : millis;
  return base - jitterMillis(base / 10);
}

async function carryOut(parts: Parts, binding: SecretBinding, planned: Plan, signal: AbortSignal): Promise<Outcome> {
  if (planned.kind === "suspended") return { kind: "untried" };
  await leaveFormer(parts, binding, planned, signal);
  if (planned.kind === "refused") {
    const isClean = await withdrawn(parts, binding, planned.cluster, signal);
    return { kind: isClean ? "withdrawn" : "untried" };
  }
  const { cluster } = planned;
  if (!canServe(cluster)) return { kind: "untried" };
  try {
    const sources = await parts.servers.withSession(cluster, signal, async (client) => {
      const states = await syncBinding(client, memoryOf(parts, cluster), binding, parts.clock.now(), signal);
      await syncRoles(parts, cluster, binding, signal);
      return states;
    });
    return { kind: "synced", sources, delivery: await keepSecret(parts, binding, cluster, sources, signal) };
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof CofferError && error.code === "unavailable")) throw error;
    const title = `VaultCluster ${titleOf(cluster)}`;
    const message =
      error instanceof ApiError ? `${title} cannot be used at the moment: ${error.message}` : error.message;
    return { kind: "unavailable", message };
  }
}

function memoryOf({ memories, clock }: Parts, cluster: VaultCluster): ServerMemory {
  const memory = memories.get(titleOf(cluster)) ?? createServerMemory(clock);
  memories.set(titleOf(cluster), memory);
  return memory;
}

/** Clusters of other namespaces have another operator, and with them their bindings. */
function isManaged({ settings }: ControllerParts, { metadata }: VaultCluster): boolean {
  return managesNamespace(settings, metadata.namespace);
}

/** Servers that are initialised; whether they answer shows when they are asked. */
function canServe({ status }: VaultCluster): boolean {
  return holds(status, "Initialized");
}

/** A binding that means another cluster now gives back what it had at the one before. */
async function leaveFormer(parts: Parts, binding: SecretBinding, planned: Plan, signal: AbortSignal): Promise<void> {
  const former = binding.status?.vault;
  const now = planned.kind === "suspended" || planned.cluster === undefined ? undefined : titleOf(planned.cluster);
  if (former === undefined || former === now || binding.status?.policy === undefined) return;
  const cluster = parts.watches.clusters.get(former);
  if (cluster !== undefined && isManaged(parts, cluster)) await withdraw(parts, cluster, binding, signal);
}

/** What a binding had before it was refused is taken back. False when it is still there. */
async function withdrawn(
  parts: Parts,
  binding: SecretBinding,
  cluster: VaultCluster | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const hadSomething = binding.status?.policy !== undefined;
  if (cluster === undefined || !hadSomething || binding.status?.vault !== titleOf(cluster)) return true;
  return withdraw(parts, cluster, binding, signal);
}

/** True when the server has nothing more of the binding than it should. */
async function withdraw(
  parts: Parts,
  cluster: VaultCluster,
  binding: SecretBinding,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await syncRoles(parts, cluster, binding, signal);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof CofferError)) throw error;
    const fields = { binding: keyOf(binding.metadata), cluster: titleOf(cluster), error: error.message };
    parts.log.warn("roles and policy of a binding are still on a server", fields);
    return false;
  }
}

/** Writes the roles of the binding's namespace and removes what does not belong there, unless that was done just now. */
async function syncRoles(
  parts: Parts,
  cluster: VaultCluster,
  binding: SecretBinding,
  signal: AbortSignal,
): Promise<void> {
  const { watches, servers, clock, lock, written } = parts;
  const { namespace } = binding.metadata;
  const key = `${titleOf(cluster)}|${namespace}`;
  await lock.run(key, async () => {
    const entries = entriesOf(
      cluster,
      watches.bindings.list(namespace),
      watches.clusters.list(),
      namespaceOf(parts, binding),
    );
    const hash = createHash("sha256")
      .update(encodeSorted(JSON.parse(JSON.stringify(entries))))
      .digest("hex");
    const last = written.get(key);
    const isRecent = last !== undefined && clock.now() - last.prunedAt < CHECKED_MILLIS;
    if (isRecent && last.hash === hash) return;
    const names = new Set([...entries.policies, ...entries.roles.map(({ name }) => name)]);
    const mayPrune = !isRecent || [...last.names].some((name) => !names.has(name));
    await servers.withSession(cluster, signal, async (client) => {
      await syncRolesOf(client, entries, signal);
      if (mayPrune) await pruneNamespace(client, memoryOf(parts, cluster), namespace, entries, signal);
    });
    written.set(key, { hash, names, prunedAt: mayPrune ? clock.now() : (last?.prunedAt ?? 0) });
  });
}

function namespaceOf({ watches }: Parts, { metadata }: SecretBinding): BindingNamespace {
  return { name: metadata.namespace, labels: watches.namespaces.get(metadata.namespace)?.metadata.labels ?? {} };
}

/** Read again when the ConfigMap, of which only metadata is watched, has another version. */
async function caBundleOf(parts: Parts, cluster: VaultCluster, signal: AbortSignal): Promise<string | undefined> {
  const name = cluster.status?.caBundle;
  if (name !== caBundleName(cluster)) return undefined;
  const ref = { namespace: cluster.metadata.namespace, name };
  const watch = parts.watches.children.find(({ kind }) => kind.kind === CONFIG_MAP.kind);
  const version = watch?.get(keyOf(ref))?.metadata.resourceVersion;
  const known = parts.bundles.get(keyOf(ref));
  if (version !== undefined && known?.version === version) return known.bundle;
  const map = await parts.client.get(CONFIG_MAP, ref, { signal });
  const data = isJsonObject(map?.["data"]) ? map["data"] : {};
  const bundle = typeof data["ca.crt"] === "string" ? data["ca.crt"] : undefined;
  parts.bundles.set(keyOf(ref), { version: map?.metadata.resourceVersion, bundle });
  return bundle;
}

async function remove(parts: Parts, binding: SecretBinding, object: KubeObject, signal: AbortSignal) {
  const { watches, clock, applier, events } = parts;
  const subject = { kind: KIND, object };
  const former = binding.status?.vault;
  const cluster = former === undefined ? undefined : watches.clusters.get(former);
  if (cluster !== undefined && !isManaged(parts, cluster)) return undefined;
  if (binding.metadata.finalizers.includes(FINALIZER) && cluster !== undefined) {
    try {
      await withDeadline(clock, CLEANUP_CALL_MILLIS, signal, (inner) => syncRoles(parts, cluster, binding, inner));
    } catch (error) {
      const since = clock.now() - Date.parse(binding.metadata.deletionTimestamp ?? "");
      if (since < CLEANUP_MILLIS) throw error;
      const note = `roles and policy are left on VaultCluster ${former}, which could not be reached: ${messageOf(error)}`;
      events.record({ regarding: object, type: "Warning", reason: "CleanupFailed", action: "Delete", note });
    }
  }
  await removeSecret(parts, binding, object, signal);
  await applier.setFinalizer(subject, FINALIZER, false, signal);
  return undefined;
}
