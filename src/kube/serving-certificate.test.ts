import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { isSignedBy, readCertificate, splitCertificates } from "#common/x509.ts";
import { eventually } from "#test/kube/eventually.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { createKubeClient, type KubeClient } from "./kube-client.ts";
import { createServingCertificate, PROPAGATION_MILLIS, type ServingCertificate } from "./serving-certificate.ts";

const DAY = 86_400_000;
const SECRET_PATH = "/api/v1/namespaces/a/secrets/webhook-ca";
const HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/coffer";

let server: FakeApiServer;
let client: KubeClient;
let clock: FakeClock;
let ends: (() => Promise<void>)[];
/** How many replicas wait for their next look. */
let waiting: number;
const countingClock: Clock = {
  now: () => clock.now(),
  async sleep(ms, signal) {
    waiting++;
    await clock.sleep(ms, signal);
    waiting--;
  },
  after: (ms, wake) => clock.after(ms, wake),
};
beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new FakeClock();
  client = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "coffer" });
  ends = [];
  waiting = 0;
});
afterEach(async () => {
  for (const end of ends) await end();
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

const installHooks = () =>
  server.put(HOOKS, {
    webhooks: [{ name: "one", rules: [], clientConfig: { service: { name: "s" } } }, { name: "two" }],
  });

function replica(): { serving: ServingCertificate; certificates: string[]; stop: () => Promise<void> } {
  const serving = createServingCertificate({
    client,
    secret: { namespace: "a", name: "webhook-ca" },
    dnsNames: ["injector.a.svc"],
    webhooks: [{ kind: "Mutating", name: "coffer" }],
    clock: countingClock,
    log: silentLog,
  });
  const certificates: string[] = [];
  serving.onRotate(({ cert, key }) => {
    expect(String(key)).toContain("PRIVATE KEY");
    certificates.push(String(cert));
  });
  const abort = new AbortController();
  const running = serving.run(abort.signal);
  const stop = () => {
    abort.abort();
    return running;
  };
  ends.push(stop);
  return { serving, certificates, stop };
}

const data = (name: string) => {
  const value = Object(server.stored(SECRET_PATH)?.["data"])[name];
  return typeof value === "string" ? Buffer.from(value, "base64").toString() : undefined;
};
const caBundles = () =>
  Object(server.stored(HOOKS))["webhooks"].map((hook: { clientConfig: { caBundle: string } }) =>
    Buffer.from(hook.clientConfig.caBundle, "base64").toString(),
  );

/** Waits until every replica has looked. */
const looked = () => eventually(() => waiting === ends.length);

/** Lets time pass and every replica look again, `times` times. */
async function look(times = 1, millis = 10_000): Promise<void> {
  for (let i = 0; i < times; i++) {
    await looked();
    await clock.advance(millis);
    await looked();
  }
}

describe("a serving certificate", () => {
  it("is made from a new shared authority and ready once the webhooks trust it", async () => {
    installHooks();
    const { serving, certificates } = replica();
    await looked();
    expect(serving.isReady()).toBe(false);
    await look();
    expect(serving.isReady()).toBe(true);
    expect(isSignedBy(certificates[0] ?? "", data("ca.crt") ?? "")).toBe(true);
    expect(caBundles()).toEqual([data("ca.crt"), data("ca.crt")]);
    expect(server.stored(HOOKS)).toMatchObject({
      webhooks: [{ rules: [], clientConfig: { service: { name: "s" } } }, {}],
    });
    const apply = server.requests.find((request) => request.method === "PATCH");
    expect(apply?.query.get("fieldManager")).toBe("coffer-ca-bundle");
    expect(serving.notAfter()).toBe(readCertificate(certificates[0] ?? "").notAfter);
  });
  it("is not ready without its webhook configuration", async () => {
    const { serving, certificates } = replica();
    await look(2);
    expect([serving.isReady(), certificates.length]).toEqual([false, 1]);
    installHooks();
    await look(2);
    expect(serving.isReady()).toBe(true);
  });
  it("shares one authority among replicas that start together", async () => {
    installHooks();
    const replicas = [replica(), replica(), replica()];
    await looked();
    const authority = data("ca.crt") ?? "";
    for (const { certificates } of replicas) expect(isSignedBy(certificates[0] ?? "", authority)).toBe(true);
  });
  it("is refused with lives that would be renewed all the time", () => {
    const secret = { namespace: "a", name: "webhook-ca" };
    const options = { client, secret, dnsNames: ["x"] as const, webhooks: [], log: silentLog };
    expect(() => createServingCertificate({ ...options, authorityDays: 2, leafDays: 1 })).not.toThrow();
    expect(() => createServingCertificate({ ...options, authorityDays: 1 })).toThrow("authorityDays");
    expect(() => createServingCertificate({ ...options, leafDays: 0.04 })).toThrow("leafDays");
  });
  it("fills a Secret that exists empty or damaged", async () => {
    installHooks();
    server.put(SECRET_PATH, { data: { "ca.crt": "AAAA", "ca.key": "AAAA" } });
    const { certificates } = replica();
    await looked();
    expect(isSignedBy(certificates[0] ?? "", data("ca.crt") ?? "")).toBe(true);
  });
  it("is renewed before it expires", async () => {
    installHooks();
    const { certificates } = replica();
    await looked();
    await look(1, DAY * 0.7);
    expect(certificates.length).toBe(2);
    expect(isSignedBy(certificates[1] ?? "", data("ca.crt") ?? "")).toBe(true);
  });
  it("sets the bundle again when somebody overwrote it", async () => {
    installHooks();
    const { serving } = replica();
    await look();
    server.put(HOOKS, { webhooks: [{ name: "one", clientConfig: { caBundle: "" } }] });
    await look();
    expect([serving.isReady(), caBundles()]).toEqual([false, [data("ca.crt")]]);
    await look();
    expect(serving.isReady()).toBe(true);
  });
  it("moves to a successor only after it is trusted everywhere, and drops the old one when it has expired", async () => {
    installHooks();
    const { serving, certificates } = replica();
    await look();
    const old = data("ca.crt") ?? "";
    await look(1, 250 * DAY);
    const successor = data("ca.crt") ?? "";
    expect(data("previous.crt")).toBe(old);
    expect(caBundles()[0]).toBe(successor + old);
    expect(isSignedBy(certificates.at(-1) ?? "", old)).toBe(true);
    const before = certificates.length;
    await look();
    expect([serving.isReady(), certificates.length]).toEqual([true, before]);
    await look(PROPAGATION_MILLIS / 10_000);
    expect([serving.isReady(), certificates.length]).toEqual([true, before + 1]);
    expect(isSignedBy(certificates.at(-1) ?? "", successor)).toBe(true);
    await look(1, 116 * DAY);
    expect(splitCertificates(caBundles()[0])).toEqual([successor]);
  });
});
