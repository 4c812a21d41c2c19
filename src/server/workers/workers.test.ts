// Workers of one server inside this process: real nodes and a real hub; only the channel between them is in memory, and
// copies what it carries as the one between processes does.
import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { createLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { renderMetrics } from "#common/metrics-snapshot.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { requestOf, testSeal } from "#test/kit/core.ts";
import { Barrier } from "../barrier/barrier.ts";
import { InFlight } from "../core/in-flight.ts";
import { Node } from "../core/node.ts";
import { SealCopies } from "../core/seal-copies.ts";
import { SealSet } from "../core/seal-set.ts";
import { SealWatch } from "../core/seal-watch.ts";
import type { ServerEvent } from "../events/event.ts";
import { Events } from "../events/events.ts";
import { type Seal, SealError } from "../seal/seal.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { Backoff, LIVED_MILLIS, WAIT_MILLIS_MAX } from "./backoff.ts";
import { Channel, UNSENT_MAX } from "./channel.ts";
import { Hub, type Member } from "./hub.ts";
import { type ClosablePort, Link } from "./link.ts";
import type { Answer, ToSupervisor, ToWorker } from "./messages.ts";

/** Two ends of one channel. A cut channel delivers nothing more and nobody is told, as when a process hangs. */
function portPair() {
  const ends = [0, 1].map(() => ({ receive: (_: unknown) => {}, closed: () => {} }));
  const state = { isCut: false };
  const portTo = (own: number): ClosablePort => ({
    send: (message, sent) => {
      const copy = structuredClone(message);
      setImmediate(() => {
        if (!state.isCut) ends[1 - own]?.receive(copy);
        sent();
      });
    },
    onMessage: (receive) => Object.assign(ends[own] ?? {}, { receive }),
    onClose: (closed) => Object.assign(ends[own] ?? {}, { closed }),
    close: () => {},
  });
  return {
    supervisor: portTo(0),
    worker: portTo(1),
    cut: () => {
      state.isCut = true;
    },
    close: () => {
      for (const { closed } of ends) closed();
    },
  };
}

interface TestWorker {
  readonly node: Node;
  readonly link: Link;
  readonly watch: SealWatch;
  readonly events: Events;
  readonly lines: string[];
  readonly log: ReturnType<typeof createLog>;
  readonly requests: { add(labels: { worker: string }): void };
  readonly inFlight: InFlight;
  isKilled(): boolean;
  /** Ends as a process does. */
  end(): void;
  hang(): void;
}

function startServer(makeSeals: () => readonly Seal[] = () => [createShamirSeal("shamir")]) {
  const storage = openMemoryStorage();
  const clock = new FakeClock();
  const metrics = createMetrics();
  const supervisorLog = createLog({ level: "info", format: "text", write: () => {}, now: () => 0 });
  const hub = new Hub({ clock, log: supervisorLog, metrics });
  const members = new Map<Link, Member>();
  const memberOf = ({ link }: TestWorker): Member => {
    const member = members.get(link);
    if (!member) throw new Error("it has no member");
    return member;
  };
  const startWorker = async (number: number): Promise<TestWorker> => {
    const pair = portPair();
    let killed = false;
    const end = () => {
      pair.cut();
      pair.close();
      hub.leave(member);
    };
    const channel = new Channel<ToWorker, ToSupervisor, Answer>(pair.supervisor, clock, (message) =>
      hub.receive(member, message),
    );
    const kill = () => {
      killed = true;
      end();
    };
    const member: Member = { number, channel, kill };
    const link = new Link(pair.worker, clock);
    members.set(link, member);
    const lines: string[] = [];
    const log = createLog({ level: "info", format: "text", write: (line) => void lines.push(line), now: () => 0 });
    const barrier = new Barrier({ storage, clock, log });
    const seals = new SealSet(makeSeals());
    const node = new Node({ storage, barrier, seals, clock, log, shared: link.unseal });
    const copies = new SealCopies({ storage, barrier, clock });
    const watch = new SealWatch({ seals, copies, node, clock, log, shared: link.seals, random: () => 0.5 });
    const own = createMetrics();
    own.gaugeOf("x_unsealed", "X.", () => (node.state === "unsealed" ? 1 : 0), "min");
    const requests = own.counter("x_total", "X.", ["worker"]);
    channel.tell({ kind: "start", number, count: 2, server: "test", files: [] });
    await link.started();
    const inFlight = new InFlight(clock);
    await link.attach({ node, log, metrics: own, inFlight, sealHealth: () => watch.ownHealth });
    const events = new Events(clock, link.events);
    return { node, link, watch, events, lines, log, requests, inFlight, isKilled: () => killed, end, hang: pair.cut };
  };
  return { storage, clock, hub, supervisorLog, memberOf, startWorker };
}

const SPLIT = { shares: 5, threshold: 3, recoveryShares: 0, recoveryThreshold: 0, fill: async () => {} };
const shareOf = (bytes: Buffer | undefined) => new SecretBytes(Buffer.from(bytes ?? []));
const EVENT: ServerEvent = {
  ...{ id: "1", time: 0, type: "kv-v2/data-write", namespace: "", dataPath: "a/b", metadata: {} },
  mount: { path: "a/", type: "kv", accessor: "kv_1", options: {} },
};

async function startShamir() {
  const server = startServer();
  const one = await server.startWorker(1);
  const two = await server.startWorker(2);
  const { keys } = await one.node.initialize(SPLIT);
  return { ...server, one, two, keys };
}

async function unseal({ one, two, keys }: Awaited<ReturnType<typeof startShamir>>): Promise<void> {
  for (const [i, { node }] of [one, two, one].entries()) await node.submitShare(shareOf(keys[i]));
}

/** Lets time pass while what depends on it is waited for. */
async function settle<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isDone = false;
  const finish = () => {
    isDone = true;
  };
  work.then(finish, finish);
  for (let i = 0; i < 100 && !isDone; i++) await clock.advance(1_000);
  return work;
}

describe("one look at the seals for all workers", () => {
  const TEN_MINUTES = 600_000;
  /** A server of three workers, and the seal's probes by worker in the order of their start. */
  async function startWatching() {
    const probes: number[] = [];
    const state = { down: false };
    const makeSeals = (): readonly Seal[] => {
      const inner = testSeal();
      if (inner.kind !== "auto") throw new Error("the static seal opens by itself");
      const own = probes.push(0) - 1;
      const probe = async () => {
        probes[own] = (probes[own] ?? 0) + 1;
        if (state.down) throw new SealError("Unreachable", "it is unplugged", { transient: true });
        return inner.probe();
      };
      return [{ ...inner, probe, machinery: () => ({ kind: "test", worker: own + 1 }) }];
    };
    const server = startServer(makeSeals);
    const end = new AbortController();
    const workers: TestWorker[] = [];
    for (const number of [1, 2, 3]) workers.push(await server.startWorker(number));
    for (const { watch } of workers) watch.start(end.signal);
    await server.clock.advance(0);
    const pass = async (millis: number) => {
      for (let passed = 0; passed < millis; passed += 30_000) await server.clock.advance(30_000);
    };
    return { ...server, workers, probes, state, pass, stop: () => end.abort() };
  }

  it("is made by one of them, and told by all", async () => {
    const { workers, probes, state, pass, stop } = await startWatching();
    await pass(3 * TEN_MINUTES);
    expect(probes).toEqual([4, 0, 0]);
    state.down = true;
    await pass(TEN_MINUTES);
    const [first, ...others] = await Promise.all(workers.map(({ watch }) => watch.health()));
    expect(first).toMatchObject([{ isHealthy: false, fault: "Unreachable", machinery: { worker: 1 } }]);
    for (const health of others) expect(health).toEqual(first);
    stop();
  });

  it("is made by another one when that ends, at once", async () => {
    const { workers, probes, pass, stop } = await startWatching();
    workers[0]?.end();
    await pass(30_000);
    expect(probes[1]).toBe(1);
    workers[2]?.end();
    await pass(TEN_MINUTES);
    expect(probes.slice(1)).toEqual([2, 0]);
    stop();
  });

  it("is remembered when the one that made it does not answer", async () => {
    const { workers, clock, state, stop } = await startWatching();
    const [one, two] = workers;
    const before = await two?.watch.health();
    expect(before).toMatchObject([{ isHealthy: true, machinery: { worker: 1 } }]);
    state.down = true;
    one?.hang();
    const asked = two?.watch.health() ?? Promise.reject(new Error("there is no second worker"));
    expect(await settle(clock, asked)).toEqual(before);
    stop();
  });
});

describe("one unseal for all workers", () => {
  it("takes shares at any of them, and opens all with the last one", async () => {
    const server = await startShamir();
    const { one, two, keys } = server;
    await one.node.submitShare(shareOf(keys[4]));
    expect((await two.node.progress()).count).toBe(1);
    await two.node.submitShare(shareOf(keys[4]));
    expect((await two.node.progress()).count).toBe(1);
    await two.node.submitShare(shareOf(keys[0]));
    const { nonce } = await one.node.progress();
    expect(await two.node.progress()).toEqual({ count: 2, nonce });
    await two.node.submitShare(shareOf(keys[2]));
    expect([one.node.state, two.node.state]).toEqual(["unsealed", "unsealed"]);
    expect((await one.link.unseal.progress.status()).count).toBe(0);
  });

  it("forgets shares for all", async () => {
    const { one, two, keys } = await startShamir();
    await one.node.submitShare(shareOf(keys[0]));
    await two.node.resetShares();
    expect(await one.node.progress()).toEqual({ count: 0, nonce: "" });
  });

  it("gives a worker that is started again the key, and none once the server was sealed", async () => {
    const server = await startShamir();
    await unseal(server);
    server.two.end();
    const again = await server.startWorker(2);
    expect(again.node.state).toBe("unsealed");
    await again.node.seal();
    expect([server.one.node.state, again.node.state]).toEqual(["sealed", "sealed"]);
    server.one.end();
    const sealed = await server.startWorker(1);
    expect([await sealed.node.refresh(), sealed.link.leading.aborted]).toEqual(["sealed", false]);
    for (const i of [0, 1, 2]) await sealed.node.submitShare(shareOf(server.keys[i]));
    expect([sealed.node.state, again.node.state]).toEqual(["unsealed", "unsealed"]);
  });

  it("ends a worker that does not seal itself in time", async () => {
    const server = await startShamir();
    await unseal(server);
    server.two.hang();
    await settle(server.clock, server.one.node.seal());
    expect([server.one.node.state, server.two.isKilled(), server.hub.size]).toEqual(["sealed", true, 1]);
  });

  it("ends a worker that hangs, and leaves one alone that answers", async () => {
    const { hub, clock, one, two, memberOf } = await startShamir();
    const stop = new AbortController();
    const watching = [one, two].map((worker) => hub.watch(memberOf(worker), stop.signal));
    for (let i = 0; i < 100; i++) await clock.advance(1_000);
    expect([one.isKilled(), two.isKilled()]).toEqual([false, false]);
    two.hang();
    for (let i = 0; i < 100; i++) await clock.advance(1_000);
    expect([one.isKilled(), two.isKilled()]).toEqual([false, true]);
    stop.abort();
    await Promise.all(watching);
  });

  it("leaves a worker alone that is late with what is best effort", async () => {
    const { clock, one, two } = await startShamir();
    two.hang();
    await settle(clock, one.events.prepare());
    expect(two.isKilled()).toBe(false);
  });

  it("follows a key that was replaced, also where a worker is started later", async () => {
    const server = await startShamir();
    await unseal(server);
    server.one.end();
    const wrong = { ...server.two.link.unseal };
    await wrong.opened(SecretBytes.random(32));
    const again = await server.startWorker(1);
    expect([again.node.state, again.link.leading.aborted]).toEqual(["sealed", true]);
  });
});

describe("the worker that asks the seals", () => {
  const auto = () => startServer(() => [testSeal()]);

  it("is one alone, and another when that one ends", async () => {
    const { startWorker } = auto();
    const one = await startWorker(1);
    const two = await startWorker(2);
    expect([one.link.leading.aborted, two.link.leading.aborted]).toEqual([true, false]);
    one.node.noteTrouble(new Error("the KMS is away"));
    await two.node.progress();
    expect(two.node.troubles).toMatchObject([{ message: "the KMS is away" }]);
    one.end();
    await two.node.progress();
    expect(two.link.leading.aborted).toBe(true);
  });

  it("opens the others, who have no trouble then", async () => {
    const { startWorker } = auto();
    const [one, two] = [await startWorker(1), await startWorker(2)];
    one.node.noteTrouble(new Error("the KMS is away"));
    await one.node.initialize({ ...SPLIT, shares: 1, threshold: 1 });
    expect([two.node.state, two.node.troubles]).toEqual(["unsealed", []]);
  });
});

describe("what the server shows as one", () => {
  it("are its metrics, which never go back when a worker ends", async () => {
    const { one, two, startWorker } = await startShamir();
    one.requests.add({ worker: "1" });
    two.requests.add({ worker: "2" });
    const shown = async () => renderMetrics(await one.link.whole.metrics());
    expect(await shown()).toContain('x_total{worker="1"} 1\nx_total{worker="2"} 1');
    two.end();
    expect(await shown()).toContain('x_total{worker="2"} 1');
    const again = await startWorker(2);
    again.requests.add({ worker: "2" });
    expect(await shown()).toContain('x_total{worker="2"} 2');
  });

  it("are the metrics of a worker that hangs as they were last", async () => {
    const { one, two, clock } = await startShamir();
    two.requests.add({ worker: "2" });
    await one.link.whole.metrics();
    two.hang();
    expect(renderMetrics(await settle(clock, one.link.whole.metrics()))).toContain('x_total{worker="2"} 1');
  });

  it("is a rate that all of them keep together", async () => {
    const { one, two } = await startShamir();
    const allowance = { rate: 3, intervalSeconds: 60, blockSeconds: 0 };
    const takes = [one, two, one, two].map(({ link }) => link.rates.take("client", allowance));
    const verdicts = (await Promise.all(takes)).map(({ allowed }) => allowed);
    expect(verdicts.filter(Boolean)).toHaveLength(3);
  });

  it("are the requests under way, without what is secret of them", async () => {
    const { one, two } = await startShamir();
    const ofTwo = { ...requestOf("hvs.secret", "read", "secret/data/a", {}), id: "of two" };
    const ofOne = { ...requestOf("hvs.secret", "update", "secret/data/b", { v: "hidden" }), id: "of one" };
    const notes = await two.inFlight.during(ofTwo, () => one.inFlight.during(ofOne, () => two.link.whole.inFlight()));
    expect(notes.map(({ id, path }) => [id, path])).toEqual([
      ["of one", "secret/data/b"],
      ["of two", "secret/data/a"],
    ]);
    expect(JSON.stringify(notes)).not.toMatch(/hvs|hidden/);
  });

  it("is a log level, for workers that are started later too", async () => {
    const { one, two, startWorker } = await startShamir();
    await one.link.whole.setLogLevel("error");
    two.end();
    const again = await startWorker(2);
    expect([one, again].map(({ log }) => log.threshold.level)).toEqual(["error", "error"]);
  });

  it("is the log, as long as somebody reads it", async () => {
    const { one, two, supervisorLog } = await startShamir();
    const tap = one.log.taps.open({ wants: () => true, format: "json" });
    await one.node.progress();
    two.log.info("told by two");
    supervisorLog.info("told by the supervisor");
    await one.node.progress();
    await one.node.progress();
    const seen = tap.take().join("");
    expect(seen).toContain('"message":"told by two"');
    expect(seen).toContain('"message":"told by the supervisor"');
    tap.close();
    await one.node.progress();
    two.log.info("told to nobody");
    expect(one.lines.join("")).not.toContain("told");
  });

  it("are events, from when a subscription is promised until somebody subscribes no more", async () => {
    const { one, two, clock } = await startShamir();
    const heard = two.link.events;
    expect(heard.isWanted()).toBe(false);
    await one.events.prepare();
    expect(heard.isWanted()).toBe(true);
    const subscription = one.events.subscribe({ types: "*", namespace: "", namespaces: [], dataPath: "" });
    heard.send(EVENT);
    await one.node.progress();
    await two.node.progress();
    expect(subscription.take()).toEqual([EVENT]);
    subscription.close();
    await clock.advance(120_000);
    heard.send(EVENT);
    for (let i = 0; i < 4; i++) await one.node.progress();
    expect(heard.isWanted()).toBe(false);
  });
});

describe("a channel", () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  function pair(answer: (message: string) => Promise<string> | string) {
    const clock = new FakeClock();
    const { supervisor, worker, cut, close } = portPair();
    ends.push(close);
    const asking = new Channel<string, string, string>(supervisor, clock, (message) => message);
    new Channel<string, string, string>(worker, clock, answer);
    return { asking, clock, cut, close };
  }

  it("says what went wrong on the other side", async () => {
    const { asking } = pair(() => Promise.reject(new Error("no such thing")));
    await expect(asking.ask("x", 1_000)).rejects.toMatchObject({ code: "unavailable", message: "no such thing" });
  });

  it("does not wait for ever, nor for a process that ends", async () => {
    const { asking, clock, cut, close } = pair((message) => message);
    cut();
    const late = expect(asking.ask("x", 1_000)).rejects.toMatchObject({ code: "unavailable" });
    await clock.advance(1_000);
    await late;
    const gone = expect(asking.ask("x", 1_000)).rejects.toMatchObject({ code: "unavailable" });
    close();
    await gone;
    await expect(asking.ask("x", 1_000)).rejects.toMatchObject({ code: "unavailable" });
  });

  it("drops what is too much, and says so once there is room", async () => {
    const got: string[] = [];
    const { asking } = pair((message) => {
      got.push(message);
      return message;
    });
    for (let i = 0; i < UNSENT_MAX + 2; i++) asking.offer("event", "lost");
    await asking.ask("asked", 1_000);
    expect([got.filter((text) => text === "event").length, got.includes("lost")]).toEqual([UNSENT_MAX, false]);
    asking.offer("event", "lost");
    await asking.ask("asked", 1_000);
    expect(got.slice(-3)).toEqual(["lost", "event", "asked"]);
  });
});

describe("the pause before a worker is started again", () => {
  it("is none after a life, and grows to a limit when it ends again and again", () => {
    const backoff = new Backoff();
    expect([backoff.next(LIVED_MILLIS), backoff.next(10), backoff.next(10), backoff.next(10)]).toEqual([
      0, 100, 200, 400,
    ]);
    for (let i = 0; i < 20; i++) backoff.next(10);
    expect(backoff.next(10)).toBe(WAIT_MILLIS_MAX);
    expect([backoff.next(LIVED_MILLIS), backoff.next(10)]).toEqual([0, 100]);
  });
});
