// TLS as the client uses it: which certificates it trusts, by which name, and bundles that rotate under it.
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { TLSSocket } from "node:tls";
import { beforeAll, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { createCertificateAuthority, issueServerCertificate } from "#common/x509.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import { type ApiClientOptions, createApiClient } from "./api-client.ts";

interface Identity {
  readonly ca: string;
  readonly cert: string;
  readonly key: Buffer;
}

let server: Identity;
let stranger: Identity;
beforeAll(async () => {
  server = await identity("coffer.test");
  stranger = await identity("stranger.test");
});

/** A certificate for one name, and the CA of its own that signed it. */
async function identity(name: string): Promise<Identity> {
  const validity = { days: 1, clock: systemClock };
  const authority = await createCertificateAuthority({ commonName: `CA of ${name}`, ...validity });
  const pair = await issueServerCertificate(authority, { commonName: name, dnsNames: [name], ...validity });
  return { ca: authority.certificatePem, cert: pair.certificatePem, key: pair.privateKeyPem.expose() };
}

/** Answers with the name in the client's certificate, if it sent one; whom to let in is a server's own matter. */
async function tlsServer() {
  const tls = { cert: server.cert, key: server.key, requestCert: true, rejectUnauthorized: false };
  const listener = createServer(tls, (request, response) => {
    const peer = request.socket instanceof TLSSocket ? request.socket.getPeerCertificate().subject?.CN : undefined;
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ data: { ok: true, peer } }));
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  // A TCP server that listens has an address object, never a pipe's name.
  const { port } = listener.address() as AddressInfo;
  return {
    client: (change: Partial<ApiClientOptions>) =>
      createApiClient({ address: `https://127.0.0.1:${port}`, retries: 0, clock: new HastyClock(), ...change }),
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

it("trusts the given CA, under the certificate's name only", async () => {
  await using tls = await tlsServer();
  using good = tls.client({ ca: server.ca, serverName: "coffer.test" });
  expect((await good.read("x")).data).toEqual({ ok: true });
  const untrusted = { status: 0, connection: "untrusted_certificate" };
  using otherName = tls.client({ ca: server.ca });
  await expect(otherName.read("x")).rejects.toMatchObject(untrusted);
  using otherCa = tls.client({ ca: stranger.ca, serverName: "coffer.test" });
  await expect(otherCa.read("x")).rejects.toMatchObject(untrusted);
  using systemCas = tls.client({ serverName: "coffer.test" });
  await expect(systemCas.read("x")).rejects.toMatchObject(untrusted);
  using careless = tls.client({ skipVerify: true });
  expect((await careless.read("x")).data).toEqual({ ok: true });
});

it("asks for the CA at each call, so that a bundle can rotate", async () => {
  await using tls = await tlsServer();
  let bundle = stranger.ca;
  using client = tls.client({ ca: () => bundle, serverName: "coffer.test" });
  await expect(client.read("x")).rejects.toMatchObject({ connection: "untrusted_certificate" });
  bundle = server.ca;
  expect((await client.read("x")).data).toEqual({ ok: true });
});

it("presents its client certificate, and the answer shows it", async () => {
  await using tls = await tlsServer();
  const trust = { ca: server.ca, serverName: "coffer.test" };
  using known = tls.client({ ...trust, clientCertificate: stranger });
  expect((await known.read("x")).data).toEqual({ ok: true, peer: "stranger.test" });
  using anonymous = tls.client(trust);
  expect((await anonymous.read("x")).data).toEqual({ ok: true });
});
