import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { eventually } from "#test/kube/eventually.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { createKubeClient, type KubeClient } from "./kube-client.ts";
import { createLeaderElection, type LeaderElection } from "./leader-election.ts";

const PATH = "/apis/coordination.k8s.io/v1/namespaces/a/leases/coffer";

let server: FakeApiServer;
let client: KubeClient;
let clock: FakeClock;
let ends: (() => Promise<void>)[];
let underWay: number;

function counted<A extends unknown[], R>(send: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
  return async (...args) => {
    underWay++;
    try {
      return await send(...args);
    } finally {
      underWay--;
    }
  };
}

beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new FakeClock();
  const real = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "t" });
  client = { ...real, get: counted(real.get), create: counted(real.create), replace: counted(real.replace) };
  underWay = 0;
  ends = [];
});
afterEach(async () => {
  for (const end of ends) await end();
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

interface Candidate {
  readonly election: LeaderElection;
  readonly terms: AbortSignal[];
  stop(): Promise<void>;
}

function candidate(identity: string): Candidate {
  const election = createLeaderElection({ client, namespace: "a", name: "coffer", identity, clock, log: silentLog });
  const abort = new AbortController();
  const terms: AbortSignal[] = [];
  const running = election.run(abort.signal, (signal) => {
    terms.push(signal);
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
  });
  const stop = () => {
    abort.abort();
    return running;
  };
  ends.push(stop);
  return { election, terms, stop };
}

const holder = () => Object(server.stored(PATH)?.["spec"])["holderIdentity"];
const transitions = () => Object(server.stored(PATH)?.["spec"])["leaseTransitions"];

/** Lets time pass in small steps, each ending when no request is under way. */
async function pass(millis: number): Promise<void> {
  for (let passed = 0; passed < millis; passed += 500) {
    await clock.advance(500);
    await eventually(() => underWay === 0);
  }
}

describe("leader election", () => {
  it("lets one lead and the other wait, for as long as the first renews", async () => {
    const first = candidate("one");
    await eventually(() => first.election.isLeader());
    const second = candidate("two");
    await pass(60_000);
    expect([first.election.isLeader(), second.election.isLeader()]).toEqual([true, false]);
    expect(second.election.holder()).toBe("one");
    expect([first.terms.length, second.terms.length]).toEqual([1, 0]);
    expect(server.stored(PATH)).toMatchObject({ spec: { leaseDurationSeconds: 15, leaseTransitions: 0 } });
  });
  it("hands over at once when the leader stops", async () => {
    const first = candidate("one");
    await eventually(() => first.election.isLeader());
    const second = candidate("two");
    await pass(1000);
    await first.stop();
    expect(holder()).toBe("");
    await pass(4000);
    await eventually(() => second.election.isLeader());
    expect([holder(), transitions()]).toEqual(["two", 1]);
  });
  it("takes over only after the duration when the leader vanished", async () => {
    const spec = { holderIdentity: "gone", leaseDurationSeconds: 15, leaseTransitions: 4 };
    server.put(PATH, { spec });
    const second = candidate("two");
    await pass(13_000);
    expect(holder()).toBe("gone");
    await pass(6000);
    await eventually(() => second.election.isLeader());
    expect(transitions()).toBe(5);
  });
  it("does not take over while the other's renewals are seen, whatever its clock says", async () => {
    const renew = (n: number) =>
      server.put(PATH, {
        spec: { holderIdentity: "other", leaseDurationSeconds: 15, renewTime: `1999-01-01T00:00:0${n}Z` },
      });
    renew(0);
    const second = candidate("two");
    for (let i = 1; i < 5; i++) {
      await pass(10_000);
      renew(i);
    }
    expect(second.terms.length).toBe(0);
  });
  it("stops leading before anybody else may start, when it cannot renew", async () => {
    const first = candidate("one");
    await eventually(() => first.election.isLeader());
    server.intercept((_request, response) => {
      response.writeHead(500).end();
      return true;
    });
    await pass(12_500);
    expect(first.terms[0]?.aborted).toBe(true);
    expect(first.election.isLeader()).toBe(false);
    server.intercept(undefined);
    await pass(8000);
    await eventually(() => first.election.isLeader());
    expect(first.terms.length).toBe(2);
  });
  it("stops leading when another took the lease", async () => {
    const first = candidate("one");
    await eventually(() => first.election.isLeader());
    server.put(PATH, { spec: { holderIdentity: "two", leaseDurationSeconds: 15 } });
    await pass(3000);
    await eventually(() => first.terms[0]?.aborted === true);
    expect(holder()).toBe("two");
  });
  it("does not claim to lead after it was frozen, even before its timers have run", async () => {
    const first = candidate("one");
    await eventually(() => first.election.isLeader());
    void clock.advance(10_000);
    expect(first.election.isLeader()).toBe(false);
  });
});
