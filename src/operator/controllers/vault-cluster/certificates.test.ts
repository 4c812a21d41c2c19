import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { isJsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import {
  createCertificateAuthority,
  isSignedBy,
  issueServerCertificate,
  readCertificate,
  splitCertificates,
} from "#common/x509.ts";
import { createEventRecorder } from "#kube/events.ts";
import { createKubeClient } from "#kube/kube-client.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { cluster, NOW, SETTINGS } from "#test/operator/fixtures.ts";
import { createWatches } from "../../watches.ts";
import { createApplier } from "../applier.ts";
import { type CertificateParts, ensureCertificate } from "./certificates.ts";

const DAY = 86_400_000;
const TLS = "/api/v1/namespaces/coffer-system/secrets/main-tls";
const CA = "/api/v1/namespaces/coffer-system/secrets/main-ca";
const signal = new AbortController().signal;

let api: FakeApiServer;
let parts: CertificateParts & { readonly clock: FakeClock };
beforeEach(async () => {
  api = await startFakeApiServer();
  const clock = new FakeClock(NOW);
  const client = await createKubeClient({ source: { from: "values", server: api.url }, fieldManager: "test" });
  const watches = createWatches({ client, settings: SETTINGS, clock, log: silentLog });
  const events = createEventRecorder({ client, instance: "test", clock, log: silentLog });
  parts = { client, applier: createApplier({ client, watches, events, clock }), clock, log: silentLog };
});
afterEach(async () => {
  parts.client[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

const ensure = (given = cluster()) => ensureCertificate(parts, given, { name: "owner" }, signal);

function text(path: string, name: string): string {
  const data = api.stored(path)?.["data"];
  return Buffer.from(String(isJsonObject(data) ? data[name] : ""), "base64").toString("utf8");
}

describe("a certificate of the cluster's own", () => {
  it("is issued from its authority and stays until it nears its end", async () => {
    const issued = await ensure();
    expect(issued.kind).toBe("issued");
    const first = text(TLS, "tls.crt");
    expect(isSignedBy(first, text(CA, "ca.crt"))).toBe(true);
    expect(text(TLS, "ca.crt")).toBe(text(CA, "ca.crt"));
    expect(readCertificate(first).notAfter).toBe(NOW + 90 * DAY);
    await parts.clock.advance(59 * DAY);
    await ensure();
    expect(text(TLS, "tls.crt")).toBe(first);
    await parts.clock.advance(2 * DAY);
    await ensure();
    expect(readCertificate(text(TLS, "tls.crt")).notAfter).toBe(NOW + (61 + 90) * DAY);
  });

  it("keeps the authority's key away from what pods mount", async () => {
    await ensure();
    expect(Object.keys(Object(api.stored(TLS)?.["data"])).sort()).toEqual(["ca.crt", "tls.crt", "tls.key"]);
    expect(api.stored(CA)).toMatchObject({ metadata: { ownerReferences: [{ name: "owner" }] } });
  });

  it("is issued anew when it is damaged or of another authority", async () => {
    await ensure();
    const first = text(TLS, "tls.crt");
    api.put(TLS, { ...api.stored(TLS), data: { "tls.crt": "AAAA", "tls.key": "AAAA" } });
    await ensure();
    expect(isSignedBy(text(TLS, "tls.crt"), text(CA, "ca.crt"))).toBe(true);
    api.remove(CA);
    await ensure();
    expect(isSignedBy(text(TLS, "tls.crt"), text(CA, "ca.crt"))).toBe(true);
    expect(text(TLS, "tls.crt")).not.toBe(first);
  });

  it("is signed by a new authority only when everybody has had a day to learn of it", async () => {
    await ensure();
    const old = text(CA, "ca.crt");
    await parts.clock.advance(2 * 365 * DAY + DAY);
    await ensure();
    expect(splitCertificates(text(TLS, "ca.crt"))).toHaveLength(2);
    expect(isSignedBy(text(TLS, "tls.crt"), old)).toBe(true);
    await parts.clock.advance(62 * DAY);
    await ensure();
    expect(isSignedBy(text(TLS, "tls.crt"), old)).toBe(false);
    expect(isSignedBy(text(TLS, "tls.crt"), text(CA, "ca.crt"))).toBe(true);
  });
});

describe("a given certificate", () => {
  const given = cluster({ spec: { tls: { secretRef: { name: "mine" } } } });
  const MINE = "/api/v1/namespaces/coffer-system/secrets/mine";

  async function provide(days: number): Promise<void> {
    const authority = await createCertificateAuthority({ commonName: "ca", days: 10, clock: parts.clock });
    const pair = await issueServerCertificate(authority, {
      commonName: "x",
      dnsNames: ["x"],
      days,
      clock: parts.clock,
    });
    const data = {
      "tls.crt": Buffer.from(pair.certificatePem).toString("base64"),
      "tls.key": pair.privateKeyPem.expose().toString("base64"),
    };
    api.put(MINE, { data });
  }

  it("is used as it is", async () => {
    await provide(5);
    expect(await ensure(given)).toEqual({ kind: "provided", notAfter: NOW + 5 * DAY, caBundle: undefined });
    expect(api.stored(CA)).toBeUndefined();
  });
  it("is refused with a sentence when it is not there, has ended or is none", async () => {
    expect(await ensure(given)).toMatchObject({ kind: "unusable", reason: "SecretNotFound" });
    await provide(5);
    await parts.clock.advance(6 * DAY);
    expect(await ensure(given)).toMatchObject({
      reason: "CertificateInvalid",
      message: expect.stringContaining("ended at 2026-01-06"),
    });
    api.put(MINE, { data: { "tls.crt": "AAAA", "tls.key": "AAAA" } });
    expect(await ensure(given)).toMatchObject({ reason: "CertificateInvalid" });
  });
});
