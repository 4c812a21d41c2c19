// What befalls an operator: its API server starts again, its connections die in silence, it is killed between any two of
// its steps. The operator is real, as are the API server and the Coffer server.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApiClient } from "#client/api-client.ts";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { declareControllerMetrics } from "#kube/controller.ts";
import { createEventRecorder } from "#kube/events.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { createApplier } from "#operator/controllers/applier.ts";
import { secretBindingController } from "#operator/controllers/secret-binding/act.ts";
import { createServers, type Servers } from "#operator/servers/servers.ts";
import { createWatches } from "#operator/watches.ts";
import { findKubePrograms } from "#test/kit/kube-api.ts";
import { startTcpProxy } from "#test/kit/tcp-proxy.ts";
import { SETTINGS } from "#test/operator/fixtures.ts";
import {
  AUDIENCE,
  BINDING,
  conditionOf,
  OPERATOR,
  SYSTEM,
  startWorld,
  until,
  type World,
} from "#test/operator/world.ts";
import { findHelm } from "#test/parts/helm.ts";

const programs = findHelm(process.env) === undefined ? undefined : findKubePrograms(process.env);
/** A watch that is dead without a sign must be noticed within this. */
const SILENCE_MILLIS_MAX = 60_000;

describe.skipIf(programs === undefined)("an operator in trouble", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(programs ?? "", { operator: { secretNamespaces: ["team"] } });
    await world.namespace("team");
    await world.admin.write("secret/data/team/db", { data: { a: "1" } });
  });
  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  const bind = (name: string, secret = {}) => world.bind("team", name, { path: "secret/team/db", secret });
  const ready = (name: string, patience?: number) =>
    until(
      `${name} is ready`,
      async () => {
        const found = conditionOf(await world.binding("team", name), "Ready");
        return found === "True Synced" || String(found);
      },
      patience,
    );

  /** Writes of the operator, and the one after which it is no more: nothing it does from then on has an effect. */
  class Fate {
    readonly dead = new AbortController();
    readonly #last: number;
    writes = 0;
    constructor(last: number) {
      this.#last = last;
    }
    async write<T>(act: () => Promise<T>): Promise<T> {
      if (this.dead.signal.aborted) throw new Error("killed");
      const result = await act();
      if (++this.writes < this.#last) return result;
      this.dead.abort();
      throw new Error("killed");
    }
  }

  it.each(["make", "rename", "remove"] as const)(
    "killed after each write while it has to %s a Secret",
    async (step) => {
      for (let last = 1; ; last++) {
        const name = `${step}-${last}`;
        if (step !== "make") {
          await bind(name);
          await runUntil(Number.POSITIVE_INFINITY, () => isDelivered(name, name));
        }
        if (step === "make") await bind(name);
        if (step === "rename") await bind(name, { name: `${name}-new` });
        if (step === "remove") await world.kube.delete(BINDING, { namespace: "team", name });
        const secret = step === "rename" ? `${name}-new` : name;
        const isDone = () => (step === "remove" ? isGone(name) : isDelivered(name, secret));
        const survived = await runUntil(last, isDone);
        if (!survived) await runUntil(Number.POSITIVE_INFINITY, isDone);
        if (step === "rename") expect(await world.secret("team", name)).toBeUndefined();
        await world.kube.delete(BINDING, { namespace: "team", name });
        await runUntil(Number.POSITIVE_INFINITY, () => isGone(name));
        expect([name, await world.secret("team", secret)]).toEqual([name, undefined]);
        expect((await world.admin.list("sys/policies/acl")).filter((one) => one.startsWith("sb_"))).toEqual([]);
        expect(await world.admin.list("auth/kubernetes/role")).toEqual([]);
        if (survived) {
          expect(last).toBeGreaterThan(2);
          return;
        }
      }
    },
  );

  const isDelivered = async (name: string, secret: string) => {
    const found = await world.binding("team", name);
    const isCurrent = conditionOf(found, "Ready") === "True Synced";
    return isCurrent && (await world.secret("team", secret))?.["a"] === "1" && statusName(found) === secret;
  };
  const statusName = (found: Awaited<ReturnType<World["binding"]>>) =>
    JSON.parse(JSON.stringify(found?.["status"] ?? {}))?.secret?.name;
  const isGone = async (name: string) => (await world.binding("team", name)) === undefined;

  /** Runs the controller until it is done or its time has come; true when it lived to see it done. */
  async function runUntil(last: number, isDone: () => Promise<boolean>): Promise<boolean> {
    const fate = new Fate(last);
    const end = new AbortController();
    const signal = AbortSignal.any([end.signal, fate.dead.signal]);
    const client = mortal(world.kube, fate);
    const clock = systemClock;
    const settings = SETTINGS;
    const watches = createWatches({ client, settings, clock, log: silentLog });
    const token = () => world.tokenOf(SYSTEM, OPERATOR, AUDIENCE);
    const real = createServers({ client, watches, token, clock });
    const servers: Servers = {
      ...{ probe: real.probe.bind(real), machinery: real.machinery.bind(real), close: () => real.close() },
      withSession: (cluster, inner, work) => real.withSession(cluster, inner, (api) => work(mortalApi(api, fate))),
    } as Servers;
    const events = createEventRecorder({ client: world.kube, instance: "test", log: silentLog });
    const applier = createApplier({ client, watches, events, clock });
    const metrics = declareControllerMetrics(createMetrics());
    const parts = { client, watches, servers, applier, events, settings, metrics, clock, log: silentLog };
    const running = [watches.run(signal), secretBindingController.create(parts).run(signal)];
    try {
      await until("it is done, or killed", async () => fate.dead.signal.aborted || (await isDone()));
      return !fate.dead.signal.aborted;
    } finally {
      end.abort();
      await Promise.allSettled(running);
      real.close();
    }
  }

  function mortal(kube: KubeClient, fate: Fate): KubeClient {
    return {
      ...kube,
      create: (...args) => fate.write(() => kube.create(...args)),
      replace: (...args) => fate.write(() => kube.replace(...args)),
      apply: (...args) => fate.write(() => kube.apply(...args)),
      applyStatus: (...args) => fate.write(() => kube.applyStatus(...args)),
      mergePatch: (...args) => fate.write(() => kube.mergePatch(...args)),
      delete: (...args) => fate.write(() => kube.delete(...args)),
      [Symbol.dispose]: () => undefined,
    };
  }

  function mortalApi(api: ApiClient, fate: Fate): ApiClient {
    return new Proxy(api, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if ((name !== "write" && name !== "delete") || typeof value !== "function") return value;
        return (...args: unknown[]) => fate.write(async () => Reflect.apply(value, target, args));
      },
    });
  }

  it("follows on when the API server has started again", async () => {
    const operator = await world.startOperator();
    await bind("restarted");
    await ready("restarted");
    await world.api.restart();
    await bind("after");
    await ready("after");
    expect(await world.secret("team", "after")).toEqual({ a: "1" });
    await operator.stop();
  });

  it("notices within a minute that its connections are dead without a sign", async () => {
    await using ends = new AsyncDisposableStack();
    const proxy = await startTcpProxy(world.api.port);
    ends.defer(() => proxy.close());
    const operator = await world.startOperator({ kubeUrl: `https://127.0.0.1:${proxy.port}` });
    ends.defer(() => operator.stop());
    await bind("before");
    await ready("before");
    proxy.forget();
    const startedAt = systemClock.now();
    await bind("meanwhile");
    await ready("meanwhile", SILENCE_MILLIS_MAX);
    expect(systemClock.now() - startedAt).toBeLessThan(SILENCE_MILLIS_MAX);
  });
});
