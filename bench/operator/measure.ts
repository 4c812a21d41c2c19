// What the bench of the operator and its test measure: many SecretBindings against a real API server and a real server,
// the operator a process of its own. Counts and times only; who prints them chooses the words.
import { readFile } from "node:fs/promises";
import { systemClock } from "#common/clock.ts";
import { forEachAtOnce } from "#common/for-each-at-once.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import { createReflector } from "#kube/reflector.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import {
  BINDING,
  conditionOf,
  type OperatorProcess,
  objectAt,
  residentBytes,
  until,
  type World,
} from "#test/operator/world.ts";

export interface Load {
  readonly bindings: number;
  readonly namespaces: number;
}

export interface Measured {
  /** From the operator's start to the last binding's Ready, in milliseconds. */
  readonly syncedMillis: number;
  /** Processor time until then: of the operator, the API server without its etcd, and the Coffer server. */
  readonly cpuMillis: { readonly operator: number; readonly api: number; readonly server: number };
  /** The highest seen while it worked. */
  readonly memoryBytes: number;
  /** Of edits while refreshes stand in line: from the edit to the new content in the Kubernetes Secret. */
  readonly editMillis: readonly number[];
  /** Refreshes that stood in line at the first edit. */
  readonly queued: number;
  /** Share of one core that it takes when nothing changes. */
  readonly idleCores: number;
  /** After a restart: until it has looked at all bindings, and what it wrote meanwhile. */
  readonly restartMillis: number;
  readonly restartWrites: number;
}

/** Clock ticks of /proc/PID/stat: 100 a second on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const WRITERS = 8;
const EDITS = 10;
const PATIENCE_MILLIS = 1_800_000;
const MEMORY_EVERY_MILLIS = 250;

export const namespaceName = (i: number) => `team-${i}`;

/** Namespaces, secrets and bindings, before the operator is there: what a cold start has to do. */
export async function fill(world: World, load: Load): Promise<void> {
  const namespaces = Array.from({ length: load.namespaces }, (_, i) => namespaceName(i));
  await forEachAtOnce(namespaces, WRITERS, async (name) => {
    await world.namespace(name);
    await world.admin.write(`secret/data/${name}/db`, { data: { user: "u", password: "p", round: "0" } });
  });
  const all = Array.from({ length: load.bindings }, (_, i) => i);
  await forEachAtOnce(all, WRITERS, async (i) => {
    await world.kube.create(BINDING, bindingOf(i, load));
  });
}

function bindingOf(i: number, load: Load): JsonObject {
  const namespace = namespaceName(i % load.namespaces);
  return {
    apiVersion: "coffer.dev/v1alpha1",
    kind: "SecretBinding",
    metadata: { namespace, name: `b-${i}` },
    spec: { path: `secret/${namespace}/db`, secret: {}, refreshInterval: "5m" },
  };
}

/** Everything, in the order of the figures. `idleMillis` is how long idleness is watched. */
export async function measure(world: World, load: Load, idleMillis: number): Promise<Measured> {
  using seen = await follow(world);
  const startedAt = systemClock.now();
  const before = { api: await cpuMillis(world.api.pid()), server: await cpuMillis(world.server.pid) };
  const operator = await world.startOperator();
  using memory = watchMemory(operator.pid);
  await until(
    "all bindings are ready",
    async () => seen.ready() >= load.bindings || `${seen.ready()}`,
    PATIENCE_MILLIS,
  );
  const syncedMillis = systemClock.now() - startedAt;
  const spent = {
    operator: await cpuMillis(operator.pid),
    api: (await cpuMillis(world.api.pid())) - before.api,
    server: (await cpuMillis(world.server.pid)) - before.server,
  };
  await settled(operator, load);
  const idleCores = await coresOf(operator.pid, idleMillis);
  const { editMillis, queued } = await edit(world, operator, load);
  await settled(operator, load);
  const memoryBytes = memory.highest();
  await operator.stop();
  const writes = seen.writes();
  const restartedAt = systemClock.now();
  const again = await world.startOperator();
  await until("it has looked at all again", async () => (await looksOf(again)) >= load.bindings, PATIENCE_MILLIS);
  await settled(again, load);
  const restartMillis = systemClock.now() - restartedAt;
  const restartWrites = seen.writes() - writes;
  await again.stop();
  return { syncedMillis, cpuMillis: spent, memoryBytes, editMillis, queued, idleCores, restartMillis, restartWrites };
}

/** Edits of users while all bindings stand in line for a refresh, which a change of the cluster makes them do. */
async function edit(world: World, operator: OperatorProcess, load: Load) {
  const cluster = {
    group: "coffer.dev",
    version: "v1alpha1",
    plural: "vaultclusters",
    kind: "VaultCluster",
    namespaced: true,
  };
  const spec = { audit: { stdout: true } };
  await world.kube.mergePatch(cluster, { namespace: "coffer-system", name: "main" }, { spec });
  await until("refreshes stand in line", async () => (await queueOf(operator)) > load.bindings / 2, 60_000);
  const queued = await queueOf(operator);
  const editMillis: number[] = [];
  for (let i = 0; i < EDITS; i++) {
    const at = bindingOf(load.bindings - 1 - i, load)["metadata"];
    const ref = {
      namespace: String(objectAt({ at: at ?? null }, "at")["namespace"]),
      name: `b-${load.bindings - 1 - i}`,
    };
    const begin = performance.now();
    const data = [{ key: "edited", template: `edit-${i}` }];
    await world.kube.mergePatch(BINDING, ref, { spec: { secret: { data } } });
    await until(
      "the edit is in the Secret",
      async () => (await world.secret(ref.namespace, ref.name))?.["edited"] === `edit-${i}`,
    );
    editMillis.push(performance.now() - begin);
  }
  return { editMillis, queued };
}

interface Followed extends Disposable {
  ready(): number;
  /** Changes of bindings and Secrets since the beginning. */
  writes(): number;
}

/** A watch of the test's own: asking for thousands of objects again and again would be a load of its own. */
async function follow(world: World): Promise<Followed> {
  const end = new AbortController();
  const ready = new Set<string>();
  let writes = 0;
  const open = (kind: typeof SECRET, metadataOnly: boolean) =>
    createReflector({ client: world.kube, kind, metadataOnly, log: silentLog });
  const bindings = open(BINDING, false);
  const secrets = open(SECRET, true);
  const take = (object: KubeObject) => {
    if (conditionOf(object, "Ready") === "True Synced") ready.add(keyOf(object.metadata));
  };
  bindings.onChange(({ object, type }) => {
    if (type !== "added") writes++;
    take(object);
  });
  secrets.onChange(({ initial }) => {
    if (!initial) writes++;
  });
  const running = [bindings.run(end.signal), secrets.run(end.signal)];
  await Promise.all([bindings.whenSynced(end.signal), secrets.whenSynced(end.signal)]);
  void running;
  return { ready: () => ready.size, writes: () => writes, [Symbol.dispose]: () => end.abort() };
}

/** Nothing stands in line any more, twice in a row. */
async function settled(operator: OperatorProcess, load: Load): Promise<void> {
  let quiet = 0;
  await until(
    "the queue is empty",
    async () => {
      quiet = (await queueOf(operator)) === 0 ? quiet + 1 : 0;
      await systemClock.sleep(200);
      return quiet >= 5;
    },
    PATIENCE_MILLIS + load.bindings,
  );
}

/** "" while it starts. */
async function metricsOf(operator: OperatorProcess): Promise<string> {
  return fetch(`${operator.health}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
}

async function queueOf(operator: OperatorProcess): Promise<number> {
  const found = /^coffer_operator_queue_length (\d+)/m.exec(await metricsOf(operator))?.[1];
  return found === undefined ? Number.POSITIVE_INFINITY : Number(found);
}

/** Reconciles of bindings so far. */
async function looksOf(operator: OperatorProcess): Promise<number> {
  const found = (await metricsOf(operator)).matchAll(
    /reconciles_total\{controller="secret-binding",result="\w+"\} (\d+)/g,
  );
  return [...found].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function cpuMillis(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? [];
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

async function coresOf(pid: number, millis: number): Promise<number> {
  const before = await cpuMillis(pid);
  await systemClock.sleep(millis);
  return ((await cpuMillis(pid)) - before) / millis;
}

function watchMemory(pid: number): Disposable & { highest(): number } {
  let highest = 0;
  const timer = setInterval(() => {
    residentBytes(pid).then(
      (bytes) => {
        highest = Math.max(highest, bytes);
      },
      () => undefined,
    );
  }, MEMORY_EVERY_MILLIS);
  return { highest: () => highest, [Symbol.dispose]: () => clearInterval(timer) };
}
