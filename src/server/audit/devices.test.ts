// Each kind of device against a real peer on this machine: one that reads, one that is gone, one that comes back.
import { spawn } from "node:child_process";
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, FakeClock, systemClock } from "#common/clock.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";
import type { AuditDevice, DeviceOptions } from "./audit-device.ts";
import { auditRegistry } from "./registry.ts";
import { DATAGRAM_BYTES_MAX } from "./transport/datagram-peer.ts";

const signal = new AbortController().signal;
let cleanUps: (() => unknown)[] = [];
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-device-"));
});
afterEach(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  cleanUps = [];
  await rm(folder, { recursive: true, force: true });
});

function make(type: string, options: DeviceOptions, clock: Clock = systemClock): AuditDevice {
  const device = auditRegistry.find((candidate) => candidate.type === type)?.make(options, { clock });
  if (!device) throw new Error(`there is no ${type} device`);
  cleanUps.push(() => device.close());
  return device;
}

/** Waits for what a peer will have seen in a moment. */
async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !done(); i++) await systemClock.sleep(10);
  expect(done()).toBe(true);
}

/** A TCP or Unix server that keeps what it reads. */
async function listen(where: { port: number } | { path: string }) {
  const peer = { text: "", sockets: new Set<Socket>() };
  const server: Server = createServer((socket) => {
    peer.sockets.add(socket);
    socket.on("data", (chunk) => {
      peer.text += chunk.toString();
    });
    socket.on("error", () => {});
  });
  server.listen({ ...where, host: "127.0.0.1" });
  await once(server, "listening");
  const stop = async () => {
    for (const socket of peer.sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  cleanUps.push(() => (server.listening ? stop() : undefined));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return Object.assign(peer, { port, stop });
}

async function listenForDatagrams() {
  const peer = { messages: [] as string[] };
  const socket: DatagramSocket = createSocket("udp4", (message) => peer.messages.push(message.toString()));
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  let open = true;
  const stop = () => {
    if (open) socket.close();
    open = false;
  };
  cleanUps.push(stop);
  return Object.assign(peer, { port: socket.address().port, stop });
}

describe("file", () => {
  it("appends, makes the file with its mode, and follows it", async () => {
    const path = join(folder, "audit.log");
    const clock = new FakeClock();
    const device = make("file", { file_path: path, mode: "0640" }, clock);
    await device.probe(signal);
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(await device.follow?.()).toEqual({ start: "new" });
    await device.write(["a", "b"], signal);
    expect(await device.follow?.()).toBeUndefined();
    await rename(path, `${path}.1`);
    expect(await device.follow?.()).toBeUndefined(); // a tenth of a second late at most
    await clock.advance(100);
    expect(await device.follow?.()).toEqual({ start: "rotated" });
    await device.write(["c"], signal);
    await rm(path);
    expect(await device.follow?.()).toEqual({ start: "rotated" });
    await device.write(["d"], signal);
    await writeFile(path, "");
    expect(await device.follow?.()).toEqual({ start: "truncated" });
    await device.write(["e"], signal);
    expect([await readFile(`${path}.1`, "utf8"), await readFile(path, "utf8")]).toEqual(["a\nb\n", "e\n"]);
  });

  it("ends a line that somebody left unfinished, and says that it continues", async () => {
    const path = join(folder, "audit.log");
    await writeFile(path, `${"x".repeat(200_000)}\n${"y".repeat(100_000)}`);
    const device = make("file", { file_path: path });
    expect(await device.follow?.()).toEqual({ start: "continued", previous: "" });
    await device.write(["z"], signal);
    expect((await readFile(path, "utf8")).split("\n").map((line) => line.length)).toEqual([200_000, 100_000, 1, 0]);
  });

  it("refuses what it cannot open, and recovers", async () => {
    const device = make("file", { file_path: join(folder, "none", "audit.log") });
    await expect(device.probe(signal)).rejects.toThrow(/sanity check failed; unable to open ".*none\/audit\.log"/);
    await expect(Promise.resolve(device.follow?.())).rejects.toThrow(/ENOENT/);
    expect(() => make("file", {})).toThrow("file_path is required");
    expect(() => make("file", { file_path: "x", mode: "rw" })).toThrow("mode must be octal");
  });

  it("knows nowhere and standard output", async () => {
    const device = make("file", { file_path: "discard" });
    await device.probe(signal);
    await device.write(["a"], signal);
  });
});

describe("socket", () => {
  it("writes lines over TCP, and to another peer when the first has gone", async () => {
    const first = await listen({ port: 0 });
    const device = make("socket", { address: `127.0.0.1:${first.port}` });
    await device.probe(signal);
    await device.write(["a", "b"], signal);
    await until(() => first.text === "a\nb\n");
    await first.stop();
    await systemClock.sleep(50); // the news that the peer has hung up must have come
    await expect(device.write(["c"], signal)).rejects.toThrow(/ECONNREFUSED|closed/);
    const second = await listen({ port: first.port });
    await device.write(["c"], signal);
    await until(() => second.text === "c\n");
  });

  it("writes to a Unix socket", async () => {
    const path = join(folder, "peer");
    const peer = await listen({ path });
    const device = make("socket", { address: path, socket_type: "unix" });
    await device.write(["a"], signal);
    await until(() => peer.text === "a\n");
  });

  it("sends a datagram a line, and notices a dead peer with the next", async () => {
    const peer = await listenForDatagrams();
    const device = make("socket", { address: `127.0.0.1:${peer.port}`, socket_type: "udp" });
    await device.probe(signal);
    await device.write(["a", "b"], signal);
    await until(() => peer.messages.length === 2);
    expect(peer.messages).toEqual(["a", "b"]);
    expect(device.lineBytesMax).toBe(DATAGRAM_BYTES_MAX);
    await device.write(["m".repeat(DATAGRAM_BYTES_MAX)], signal);
    await expect(device.write(["m".repeat(DATAGRAM_BYTES_MAX + 1)], signal)).rejects.toThrow(/EMSGSIZE/);
    peer.stop();
    await device.write(["c"], signal);
    await systemClock.sleep(50);
    await expect(device.write(["d"], signal)).rejects.toThrow(/ECONNREFUSED/);
  });

  it("gives up on a peer that does not read when it is told to", async () => {
    const silent = createServer((socket) => socket.pause().on("error", () => {})).listen(0, "127.0.0.1");
    await once(silent, "listening");
    cleanUps.push(() => silent.close());
    const { port } = silent.address() as AddressInfo; // listens on a port, so there is one
    const device = make("socket", { address: `127.0.0.1:${port}` });
    const cut = new AbortController();
    const lost = device.write(["x".repeat(64 * 1024 * 1024)], cut.signal);
    const outcome = expect(lost).rejects.toThrow(/ECANCELED|too late/);
    await systemClock.sleep(50);
    cut.abort(new Error("too late"));
    await outcome;
  });

  it.each([
    [{}, "address is required"],
    [{ address: "nowhere" }, "address must be host:port"],
    [{ address: "a:0" }, "address must be host:port"],
    [{ address: "a:65536" }, "address must be host:port"],
    [{ address: "a:1", socket_type: "tls" }, "socket_type must be tcp, udp or unix"],
  ])("refuses %j", (options, message) => {
    expect(() => make("socket", options)).toThrow(message);
  });

  it("says that nobody is there", async () => {
    const peer = await listen({ port: 0 });
    await peer.stop();
    const device = make("socket", { address: `127.0.0.1:${peer.port}` });
    await expect(device.probe(signal)).rejects.toThrow(/sanity check failed; unable to connect to 127\.0\.0\.1/);
  });
});

describe("syslog", () => {
  const MESSAGE = /^<134>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ vault \d+ - - (.*)$/;

  it("speaks RFC 5424 over UDP", async () => {
    const peer = await listenForDatagrams();
    const options = { address: `127.0.0.1:${peer.port}`, socket_type: "udp", facility: "LOCAL0", tag: "vault" };
    await make("syslog", options).write(["a", "b c"], signal);
    await until(() => peer.messages.length === 2);
    expect(peer.messages.map((message) => MESSAGE.exec(message)?.[1])).toEqual(["a", "b c"]);
  });

  it("counts octets over TCP (RFC 6587)", async () => {
    const peer = await listen({ port: 0 });
    const options = { address: `127.0.0.1:${peer.port}`, socket_type: "tcp", facility: "local0", tag: "vault" };
    await make("syslog", options).write(["ä", "b"], signal);
    await until(() => peer.text.endsWith(" b"));
    const [length = "", rest = ""] = /^(\d+) ([\s\S]*)$/.exec(peer.text)?.slice(1) ?? [];
    const first = Buffer.from(rest).subarray(0, Number(length)).toString();
    expect(MESSAGE.exec(first)?.[1]).toBe("ä");
  });

  it("speaks to a local daemon with a stream socket", async () => {
    const path = join(folder, "log");
    const peer = await listen({ path });
    await make("syslog", { address: path }).write(["a"], signal);
    await until(() => peer.text.endsWith("\n"));
    expect(peer.text).toMatch(/^<38>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d coffer\[\d+\]: a\n$/);
  });

  it("speaks to a local daemon with a datagram socket", async ({ skip }) => {
    const path = join(folder, "log");
    const script = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("ready",flush=True)
while True: print(s.recv(65536).decode(),flush=True)`;
    const daemon = spawn("python3", ["-c", script, path], { stdio: ["ignore", "pipe", "ignore"] });
    const isThere = await once(daemon, "spawn").then(
      () => true,
      () => false,
    );
    if (!isThere && process.env["CI"] !== "true") return skip("python3 is not installed");
    cleanUps.push(() => daemon.kill());
    let text = "";
    daemon.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await until(() => text.includes("ready"));
    const device = make("syslog", { address: path, tag: "vault", facility: "local0" });
    await device.probe(signal);
    await device.write(["first line", "x".repeat(20_000)], signal);
    await until(() => text.includes("x".repeat(20_000)));
    expect(text).toMatch(/<134>.* vault\[\d+\]: first line\n/);
  });

  it("says what is wrong", async () => {
    expect(() => make("syslog", { facility: "none" })).toThrow("facility must be one of kern, user");
    expect(() => make("syslog", { tag: "two words" })).toThrow("tag must be");
    expect(() => make("syslog", { socket_type: "tcp" })).toThrow("address is required");
    const device = make("syslog", { address: join(folder, "none") });
    await expect(device.probe(signal)).rejects.toThrow(/unable to connect to .*none/);
  });
});

describe("http", () => {
  async function receive(status: () => number, secure?: { key: string; cert: string }) {
    const seen: { body: string; type: string | undefined; token: string | undefined }[] = [];
    const listener: Parameters<typeof createHttpServer>[1] = (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => {
        body += chunk.toString();
      });
      request.on("end", () => {
        seen.push({ body, type: request.headers["content-type"], token: request.headers.authorization });
        response.writeHead(status()).end("ignored");
      });
    };
    const server = secure ? createHttpsServer(secure, listener) : createHttpServer(listener);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanUps.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo; // listens on a port, so there is one
    return { seen, uri: `${secure ? "https" : "http"}://127.0.0.1:${port}/lines`, server };
  }

  it("posts lines with its headers, and refuses what the server refuses", async () => {
    let status = 200;
    const { seen, uri } = await receive(() => status);
    const device = make("http", { uri, headers: '{"Authorization":"Bearer t"}' });
    await device.probe(signal);
    await device.write(["a", "b"], signal);
    status = 204;
    await device.write(["c"], signal);
    expect(seen.map(({ body }) => body)).toEqual(["", "a\nb\n", "c\n"]);
    expect(seen[1]).toMatchObject({ type: "application/x-ndjson", token: "Bearer t" });
    for (const wrong of [301, 403, 500]) {
      status = wrong;
      await expect(device.write(["d"], signal)).rejects.toThrow(`answered with status ${wrong}`);
    }
  });

  it("is not disturbed by a connection that was closed while idle", async () => {
    const { seen, uri, server } = await receive(() => 200);
    const device = make("http", { uri });
    await device.write(["a"], signal);
    server.closeAllConnections();
    await device.write(["b"], signal);
    expect(seen.map(({ body }) => body)).toEqual(["a\n", "b\n"]);
  });

  it("trusts the authorities of ca_file and no other", async () => {
    const authority = await createTestAuthority();
    const { seen, uri } = await receive(() => 200, await authority.server("receiver"));
    const file = join(folder, "ca.pem");
    await writeFile(file, authority.cert);
    await make("http", { uri, ca_file: file }).write(["a"], signal);
    expect(seen.map(({ body }) => body)).toEqual(["a\n"]);
    await expect(make("http", { uri }).write(["a"], signal)).rejects.toThrow(/certificate/);
    await rm(file);
    await expect(make("http", { uri, ca_file: file }).write(["a"], signal)).rejects.toThrow("ca_file: ENOENT");
  });

  it("gives up on a server that does not answer when it is told to", async () => {
    const silent = createHttpServer(() => {}).listen(0, "127.0.0.1");
    await once(silent, "listening");
    cleanUps.push(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const { port } = silent.address() as AddressInfo; // listens on a port, so there is one
    const cut = new AbortController();
    const lost = make("http", { uri: `http://127.0.0.1:${port}/` }).write(["a"], cut.signal);
    const outcome = expect(lost).rejects.toThrow(/abort/i);
    await systemClock.sleep(30);
    cut.abort();
    await outcome;
  });

  it.each([
    [{}, "uri is required"],
    [{ uri: "ftp://a" }, "uri must begin with http"],
    [{ uri: "http://u:p@a/" }, "uri must not hold a password"],
    [{ uri: "http://a", headers: "[]" }, "headers must be a JSON object"],
    [{ uri: "http://a", headers: '{"a":1}' }, "is no header with a text"],
    [{ uri: "http://a", headers: '{"a b":"x"}' }, "is no header with a text"],
    [{ uri: "http://a", headers: '{"a":"x\\ny"}' }, "is no header with a text"],
  ])("refuses %j", (options, message) => {
    expect(() => make("http", options)).toThrow(message);
  });
});

it("a file that may only be written is written", async () => {
  const path = join(folder, "drop");
  await writeFile(path, "");
  await chmod(path, 0o200);
  const device = make("file", { file_path: path });
  await device.follow?.();
  await device.write(["a"], signal);
  await chmod(path, 0o600);
  expect(await readFile(path, "utf8")).toBe("a\n");
});
