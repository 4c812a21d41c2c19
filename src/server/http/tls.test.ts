import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "#common/clock.ts";
import { createLog } from "#common/log.ts";
import { createTestAuthority, type PemPair, type TestAuthority } from "#test/kit/tls-pair.ts";
import type { TlsConfig } from "../config/listener-config.ts";
import { type Listener, listen } from "./listener.ts";
import { LOOK_MILLIS } from "./tls-files.ts";

let authority: TestAuthority;
let stranger: TestAuthority;
let folder: string;
let clock: FakeClock;
let listener: Listener | undefined;
let logged: string[];

beforeAll(async () => {
  authority = await createTestAuthority();
  stranger = await createTestAuthority();
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-tls-"));
  clock = new FakeClock();
  logged = [];
});

afterEach(async () => {
  await stopListening();
  await rm(folder, { recursive: true, force: true });
});

async function stopListening(): Promise<void> {
  let isClosed = false;
  const closing = listener?.close().then(() => {
    isClosed = true;
  });
  while (listener && !isClosed) {
    await clock.advance(25);
    await systemClock.sleep(2);
  }
  await closing;
  listener = undefined;
}

/** A Secret as kubelet mounts it: files are links into "..data", which is a link to a folder that is replaced whole. */
async function mountSecret(generation: string, pair: PemPair): Promise<void> {
  const data = join(folder, `..${generation}`);
  await mkdir(data);
  await Promise.all([writeFile(join(data, "tls.crt"), pair.cert), writeFile(join(data, "tls.key"), pair.key)]);
  await symlink(`..${generation}`, join(folder, "..data_tmp"));
  await rename(join(folder, "..data_tmp"), join(folder, "..data"));
}

async function linkFiles(): Promise<void> {
  for (const name of ["tls.crt", "tls.key"]) await symlink(join("..data", name), join(folder, name));
}

async function start(options: Partial<TlsConfig> = {}): Promise<number> {
  const tls: TlsConfig = {
    certFile: join(folder, "tls.crt"),
    keyFile: join(folder, "tls.key"),
    clientCaFile: undefined,
    clientCertificates: "request",
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    ...options,
  };
  const config = {
    host: "127.0.0.1",
    port: 0,
    tls,
    maxRequestBytes: 1024,
    maxRequestSeconds: 30,
    requireRequestHeader: false,
    forwardedFor: undefined,
    unauthenticatedMetrics: false,
    unauthenticatedRekey: false,
    unauthenticatedRootGeneration: false,
  };
  const log = createLog({ level: "info", format: "text", write: (line) => void logged.push(line), now: () => 0 });
  listener = await listen(config, {
    serve: async () => ({ status: 200, contentType: "application/json", body: "{}\n" }),
    pages: (_, response) => void response.end(),
    crossOrigin: async () => undefined,
    metrics: async () => ({ contentType: "", body: "" }),
    log,
    clock,
  });
  return Number(new URL(listener.address).port);
}

function connectTo(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", ca: authority.cert, servername: "localhost", ...options });
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** The common name of the certificate that the server shows. */
async function shownName(port: number): Promise<string> {
  const socket = await connectTo(port);
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

function ask(port: number, client: Partial<PemPair> = {}): Promise<{ status: number; hsts: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { port, host: "127.0.0.1", path: "/v1/a", ca: authority.cert, servername: "localhost", agent: false, ...client },
      (answer) => {
        answer.resume();
        resolve({ status: answer.statusCode ?? 0, hsts: answer.headers["strict-transport-security"] });
      },
    );
    sent.once("error", reject);
    sent.end();
  });
}

/** Lets the listener look at its files once. */
async function look(until: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !until(); i++) {
    await clock.advance(LOOK_MILLIS);
    await systemClock.sleep(5);
  }
}

const reloads = () => logged.filter((line) => line.includes("was reloaded")).length;
const refusals = () => logged.filter((line) => line.includes("was not reloaded")).length;

describe("a TLS listener", () => {
  beforeEach(async () => {
    await mountSecret("1", await authority.server("first"));
    await linkFiles();
  });

  it("answers over TLS and says that it always will", async () => {
    expect(await ask(await start())).toEqual({ status: 200, hsts: "max-age=31536000; includeSubDomains" });
  });

  it("shows a new certificate when the Secret was replaced, and keeps connections that are open", async () => {
    const port = await start();
    expect(await shownName(port)).toBe("first");
    const open = await connectTo(port);
    await look(() => true);
    await mountSecret("2", await authority.server("second"));
    await look(() => reloads() > 0);
    expect(await shownName(port)).toBe("second");
    expect(open.destroyed).toBe(false);
    open.destroy();
    await mountSecret("3", await authority.server("third"));
    await look(() => reloads() > 1);
    expect(await shownName(port)).toBe("third");
  });

  it("looks at its files at once when it is asked to", async () => {
    const port = await start();
    await look(() => true);
    await mountSecret("2", await authority.server("second"));
    listener?.reload();
    for (let i = 0; i < 100 && reloads() === 0; i++) await systemClock.sleep(5);
    expect(await shownName(port)).toBe("second");
  });

  it("keeps the certificate that it has when the new files do not fit", async () => {
    const port = await start();
    const { cert } = await authority.server("second");
    const { key } = await authority.server("third");
    await look(() => true);
    await mountSecret("2", { cert, key });
    await look(() => refusals() > 0);
    expect(refusals()).toBeGreaterThan(0);
    expect(await shownName(port)).toBe("first");
    await mountSecret("3", await authority.server("fourth"));
    await look(() => reloads() > 0);
    expect(await shownName(port)).toBe("fourth");
  });

  it("does not start without its files, and says which", async () => {
    await expect(start({ certFile: join(folder, "absent.crt") })).rejects.toThrow(
      /TLS files cannot be read.*absent\.crt/,
    );
  });

  it.each([
    [{}, { maxVersion: "TLSv1.2" }, "TLSv1.2"],
    [{}, {}, "TLSv1.3"],
    [{ maxVersion: "TLSv1.2" }, {}, "TLSv1.2"],
  ] as const)("of versions %j offers a client with %j the version %s", async (versions, client, spoken) => {
    const socket = await connectTo(await start(versions), client);
    expect(socket.getProtocol()).toBe(spoken);
    socket.destroy();
  });

  it("refuses clients that are too old", async () => {
    const port = await start({ minVersion: "TLSv1.3" });
    await expect(connectTo(port, { maxVersion: "TLSv1.2" })).rejects.toThrow(/alert protocol version/i);
  });

  it("answers plain HTTP with nothing that could be mistaken", async () => {
    const port = await start();
    await expect(fetch(`http://127.0.0.1:${port}/v1/a`)).rejects.toThrow();
  });
});

describe("client certificates", () => {
  beforeEach(async () => {
    await mountSecret("1", await authority.server("server"));
    await linkFiles();
    await writeFile(join(folder, "ca.crt"), authority.cert);
  });

  const modes = ["none", "request", "require"] as const;
  it.each(modes)("in mode %s: a client without", async (clientCertificates) => {
    const port = await start({ clientCertificates, clientCaFile: join(folder, "ca.crt") });
    if (clientCertificates === "require") await expect(ask(port)).rejects.toThrow();
    else expect(await ask(port)).toMatchObject({ status: 200 });
  });

  it.each(modes)("in mode %s: a client with one", async (clientCertificates) => {
    const port = await start({ clientCertificates, clientCaFile: join(folder, "ca.crt") });
    expect(await ask(port, await authority.client("somebody"))).toMatchObject({ status: 200 });
  });

  it.each(modes)("in mode %s: a client with one of a stranger", async (clientCertificates) => {
    const port = await start({ clientCertificates, clientCaFile: join(folder, "ca.crt") });
    const asked = ask(port, await stranger.client("somebody"));
    if (clientCertificates === "require") await expect(asked).rejects.toThrow();
    else expect(await asked).toMatchObject({ status: 200 });
  });

  it("of a new authority are taken once its file has changed", async () => {
    const port = await start({ clientCertificates: "require", clientCaFile: join(folder, "ca.crt") });
    const client = await stranger.client("somebody");
    await expect(ask(port, client)).rejects.toThrow();
    await look(() => true);
    await writeFile(join(folder, "ca.crt"), stranger.cert);
    await look(() => reloads() > 0);
    expect(await ask(port, client)).toMatchObject({ status: 200 });
    await expect(ask(port, await authority.client("somebody"))).rejects.toThrow();
  });
});
