// Applies objects and status, and does not where that would change nothing: an object that was applied with the same
// contents, and that nobody has touched since, is left alone. What is forgotten here is merely applied once more.
import { createHash } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { encodeSorted, type JsonObject, type JsonValue } from "#common/json.ts";
import type { EventRecorder } from "#kube/events.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import { asKubeObject, type KubeObject, keyOf, type ResourceKind } from "#kube/kube-object.ts";
import type { Watches } from "../watches.ts";
import type { Decision, DesiredObject, Removal } from "./decision.ts";

export interface Applier {
  /** Applies one object, unless it is as it should be. Throws KubeError. */
  apply(desired: DesiredObject, signal: AbortSignal): Promise<void>;
  /** Deletes an object, and forgets that it was applied. Throws KubeError. */
  remove(removal: Removal, signal: AbortSignal): Promise<void>;
  /** Carries a whole decision out: objects, removals, status, events. `subject` is what was decided on. */
  carryOut(subject: Subject, decision: Decision<unknown>, signal: AbortSignal): Promise<void>;
  /** Sets or removes one of our finalizers, if it is not so already. */
  setFinalizer(subject: Subject, finalizer: string, present: boolean, signal: AbortSignal): Promise<void>;
}

export interface Subject {
  readonly kind: ResourceKind;
  readonly object: KubeObject;
}

/** Objects that are not watched are applied again this often. */
const UNWATCHED_MILLIS: Millis = 10 * 60_000;
/** Remembered objects; a dozen for each of hundreds of clusters. */
const REMEMBERED_MAX = 20_000;

interface Applied {
  readonly hash: string;
  readonly version: string | undefined;
  readonly at: Millis;
}

export function createApplier(options: {
  client: KubeClient;
  watches: Watches;
  events: EventRecorder;
  clock: Clock;
}): Applier {
  const { client, watches, events, clock } = options;
  const remembered = new Map<string, Applied>();
  const isCurrent = (desired: DesiredObject, key: string, hash: string): boolean => {
    const last = remembered.get(key);
    if (last?.hash !== hash) return false;
    const live = watchedVersion(watches, desired);
    return live === undefined ? clock.now() - last.at < UNWATCHED_MILLIS : live === last.version;
  };
  const apply: Applier["apply"] = async (desired, signal) => {
    const key = `${desired.kind.kind}|${keyOf(asKubeObject(desired.object, desired.kind).metadata)}`;
    const hash = createHash("sha256").update(encodeSorted(desired.object)).digest("hex");
    if (isCurrent(desired, key, hash)) return;
    const { metadata } = await client.apply(desired.kind, desired.object, { signal });
    remembered.delete(key);
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    remembered.set(key, { hash, version: metadata.resourceVersion, at: clock.now() });
  };
  const remove: Applier["remove"] = async ({ kind, ref }, signal) => {
    remembered.delete(`${kind.kind}|${keyOf(ref)}`);
    await client.delete(kind, ref, { signal });
  };
  return {
    apply,
    remove,
    async carryOut(subject, decision, signal) {
      for (const desired of decision.objects) await apply(desired, signal);
      for (const removal of decision.removals) await remove(removal, signal);
      await writeStatus(client, subject, decision.status, signal);
      for (const event of decision.events) events.record({ regarding: subject.object, ...event });
    },
    setFinalizer: (subject, finalizer, present, signal) => setFinalizer(client, subject, finalizer, present, signal),
  };
}

/** The version in the cache of a watched object; undefined when its kind is not watched in that namespace. */
function watchedVersion(watches: Watches, { kind, object }: DesiredObject): string | undefined {
  const watch = [watches.statefulSets, watches.deployments, watches.secrets, ...watches.children].find(
    (w) => w.kind.kind === kind.kind,
  );
  const { metadata } = asKubeObject(object, kind);
  return watch?.get(keyOf(metadata))?.metadata.resourceVersion;
}

async function writeStatus(client: KubeClient, { kind, object }: Subject, status: unknown, signal: AbortSignal) {
  // True: statuses are made of JSON values by their schemas; this takes off members that are undefined.
  const wanted = JSON.parse(JSON.stringify(status)) as JsonObject;
  const before: JsonValue = object["status"] ?? {};
  if (encodeSorted(before) === encodeSorted(wanted)) return;
  const { name, namespace = "", uid } = object.metadata;
  try {
    // The uid keeps the status of a deleted object from landing on its successor.
    await client.applyStatus(
      kind,
      { metadata: { name, namespace, ...(uid === undefined ? {} : { uid }) }, status: wanted },
      { signal },
    );
  } catch (error) {
    if (!isKubeError(error, "NotFound", "Conflict")) throw error;
  }
}

async function setFinalizer(
  client: KubeClient,
  { kind, object }: Subject,
  finalizer: string,
  present: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, finalizers = [], resourceVersion } = object.metadata;
  if (finalizers.includes(finalizer) === present) return;
  const wanted = present ? [...finalizers, finalizer] : finalizers.filter((one) => one !== finalizer);
  try {
    // With the version: a finalizer that somebody else added meanwhile must not get lost.
    const patch = { metadata: { finalizers: wanted, ...(resourceVersion === undefined ? {} : { resourceVersion }) } };
    await client.mergePatch(kind, { name, namespace }, patch, { signal });
  } catch (error) {
    if (!present && isKubeError(error, "NotFound")) return;
    throw error;
  }
}
