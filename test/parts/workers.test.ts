// A server of two worker processes, as a user starts it: real processes on one LMDB store and one port, which are to be one
// server to their clients.
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import WebSocket from "ws";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { at } from "#test/kit/client.ts";
import { type Connection, type ConnectionAnswer, connect } from "#test/kit/connection.ts";
import { untilUnsealed } from "#test/kit/server.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";
import {
  bootstrapped,
  connectToBoth,
  count,
  login,
  requestsByWorker,
  type Started,
  start,
  until,
  workerPids,
} from "#test/kit/worker-server.ts";
import { cli } from "#test/run-cli.ts";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Sends until the server answers; gives how often the connection broke before. */
async function retried(address: string, token: string, method: string, path: string, body?: JsonObject) {
  for (let broken = 0; ; broken++) {
    using client = connect(address, token);
    try {
      const answer = await client.call(method, path, body);
      return { broken, status: answer.status };
    } catch (error) {
      if (broken > 5) throw new Error(`${method} ${path}: ${messageOf(error)}`, { cause: error });
    }
  }
}

describe("two workers", () => {
  let started: Started;
  let token = "";
  let one: Connection;
  let two: Connection;
  beforeAll(async () => {
    started = await start(bootstrapped());
    await untilUnsealed(started.server);
    token = await login(started.server);
    [one, two] = await connectToBoth(started.server.address, token);
  });
  afterAll(async () => {
    one?.[Symbol.dispose]();
    two?.[Symbol.dispose]();
    await started?.server.stop();
    await rm(started.folder, { recursive: true, force: true });
  });

  it("share a port, a store and their counts", async () => {
    const before = await requestsByWorker(one);
    for (let i = 0; i < 10; i++) await Promise.all([one.must("GET", "sys/health"), two.must("GET", "sys/health")]);
    const after = await requestsByWorker(two);
    for (const worker of ["1", "2"]) expect((after[worker] ?? 0) - (before[worker] ?? 0)).toBeGreaterThanOrEqual(10);
    const { text } = await two.call("GET", "sys/metrics?format=prometheus");
    expect(text).toMatch(/^coffer_workers 2$/m);
    expect(text).toMatch(/^coffer_unsealed 1$/m);
    expect(Number((await readFile(join(started.folder, "pid"), "utf8")).trim())).toBe(started.server.pid);
  });

  it("read each other's writes at once, and list them", async () => {
    for (let i = 0; i < 20; i++) {
      const [writer, reader] = i % 2 === 0 ? [one, two] : [two, one];
      await writer.must("POST", `secret/data/own/k${i}`, { data: { i } });
      expect(at(await reader.must("GET", `secret/data/own/k${i}`), "data", "data", "i")).toBe(i);
    }
    for (const client of [one, two])
      expect(at(await client.must("LIST", "secret/metadata/own"), "data", "keys")).toHaveLength(20);
  });

  it("refuse a token that was revoked at the other one for the next request", async () => {
    const made = await one.must("POST", "auth/token/create", { policies: ["all"] });
    const child = String(at(made, "auth", "client_token"));
    const [first, second] = await connectToBoth(started.server.address, child);
    await one.must("POST", "auth/token/revoke", { token: child });
    expect([(await first.call("GET", "secret/data/own/k1")).status, (await second.call("GET", "x")).status]).toEqual([
      403, 403,
    ]);
    first[Symbol.dispose]();
    second[Symbol.dispose]();
  });

  it("tell their subscribers what the other one did", async () => {
    const url = `${started.server.address.replace("http", "ws")}/v1/sys/events/subscribe/kv-v2/data-write?json=true`;
    const socket = new WebSocket(url, { headers: { "X-Vault-Token": token } });
    const heard: string[] = [];
    socket.on("message", (data) =>
      heard.push(String(at(JSON.parse(String(data)), "data", "event", "metadata", "path"))),
    );
    await once(socket, "open");
    await one.must("POST", "secret/data/event/one", { data: {} });
    await two.must("POST", "secret/data/event/two", { data: {} });
    await until(() => heard.length >= 2, "both events are heard", started.server);
    expect(heard.toSorted()).toEqual(["secret/data/event/one", "secret/data/event/two"]);
    socket.close();
  });

  it("keep one rate together", async () => {
    await one.must("POST", "sys/quotas/rate-limit/few", { path: "secret/data/rated", rate: 10, interval: "1h" });
    const answers: ConnectionAnswer[] = [];
    for (let i = 0; i < 20; i++)
      answers.push(...(await Promise.all([one, two].map((client) => client.call("GET", "secret/data/rated")))));
    const statuses = answers.map(({ status }) => status);
    expect([statuses.filter((status) => status === 404).length, statuses.at(-1)]).toEqual([10, 429]);
    await one.must("DELETE", "sys/quotas/rate-limit/few");
  });

  it("show the requests of both", async () => {
    await until(async () => {
      const answers = await Promise.all([one, two].map((client) => client.must("GET", "sys/in-flight-req")));
      return answers.some((body) => Object.keys(body).length >= 2);
    }, "a request of each is seen");
  });

  it("share a log level", async () => {
    await one.must("POST", "sys/loggers", { level: "error" });
    expect(at(await two.must("GET", "sys/loggers"), "data", "coffer")).toBe("error");
    await two.must("DELETE", "sys/loggers");
    expect(at(await one.must("GET", "sys/loggers"), "data", "coffer")).toBe("info");
  });

  it("append to one audit file, which verifies", async () => {
    const file = join(started.folder, "audit.log");
    await one.must("POST", "sys/audit/file", { type: "file", options: { file_path: file } });
    const writes = Array.from({ length: 100 }, (_, i) =>
      (i % 2 ? one : two).must("POST", `secret/data/audited/k${i % 10}${i % 2}`, { data: { text: "x".repeat(6_000) } }),
    );
    await Promise.all(writes);
    const env = { VAULT_ADDR: started.server.address, VAULT_TOKEN: token };
    const verified = await cli({ env }, "audit", "verify", "-device=file", file);
    expect([verified.code, verified.stderr]).toEqual([0, ""]);
    const lines = await readFile(file, "utf8");
    const writers = new Set([...lines.matchAll(/"writer":"(?!hmac-)([^"]+)"/g)].map(([, name]) => name));
    expect(writers.size).toBe(2);
    await one.must("DELETE", "sys/audit/file");
  });

  it("write one standard output, in whole lines", async () => {
    const device = { type: "file", options: { file_path: "stdout" } };
    await one.must("POST", "sys/audit/out", device);
    // Each field becomes a MAC: lines of some 20 KB, longer than what a pipe takes as one.
    const data = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`field${i}`, "x"]));
    await Promise.all([one, two].map((client) => client.must("POST", "secret/data/out/before", { data })));
    const writes = Array.from({ length: 60 }, (_, i) =>
      (i % 2 ? one : two).must("POST", `secret/data/out/${i % 2}`, { data }),
    );
    await Promise.all(writes);
    await one.must("DELETE", "sys/audit/out");
    const [, ...lines] = started.server.output().split("\n").slice(0, -1);
    const audited = lines.filter((line) => !/^\d{4}-/.test(line));
    expect(audited.length).toBeGreaterThan(2);
    expect(audited.filter((line) => !isJson(line))).toEqual([]);
  });

  it("show a log reader the lines of both and of their supervisor; one that dies is back, unsealed, at once", async () => {
    const [readerToOne] = await connectToBoth(started.server.address, token);
    const stream = await readerToOne.stream("sys/monitor");
    let lines = "";
    stream.on("data", (chunk) => {
      lines += String(chunk);
    });
    const pids = await workerPids(started.server);
    const victim = pids.at(-1) ?? 0;
    process.kill(victim, "SIGKILL");
    await until(() => /started again worker=2/.test(lines), "the supervisor's line is seen", started.server);
    await until(() => /listening worker=2/.test(lines), "the new worker's line is seen", started.server);
    readerToOne[Symbol.dispose]();
    two[Symbol.dispose]();
    one[Symbol.dispose]();
    [one, two] = await connectToBoth(started.server.address, token);
    await one.must("POST", "secret/data/back", { data: {} });
    await two.must("GET", "secret/data/back");
    const { text } = await one.call("GET", "sys/metrics?format=prometheus");
    expect(text).toMatch(/^coffer_worker_restarts_total 1$/m);
  });

  it("fail no request that is sent once more while one of them is killed again and again", async () => {
    const { server } = started;
    let stopped = false;
    const outcomes: { broken: number; status: number }[] = [];
    const senders = Array.from({ length: 4 }, async (_, sender) => {
      for (let i = 0; !stopped; i++) {
        const path = `secret/data/killed/${sender}-${i}`;
        outcomes.push(await retried(server.address, token, "POST", path, { data: { i } }));
        outcomes.push(await retried(server.address, token, "GET", path));
      }
    });
    for (let round = 0; round < 3; round++) {
      const before = count(server.output(), /listening worker=/g);
      const pids = await workerPids(server);
      process.kill(pids[round % pids.length] ?? 0, "SIGKILL");
      await until(() => count(server.output(), /listening worker=/g) > before, "it is back", server);
      await systemClock.sleep(300);
    }
    stopped = true;
    await Promise.all(senders);
    expect([...new Set(outcomes.map(({ status }) => status))]).toEqual([200]);
    expect(Math.max(...outcomes.map(({ broken }) => broken))).toBeLessThanOrEqual(1);
    expect(outcomes.length).toBeGreaterThan(100);
  });
});

describe("people who unseal a server of two workers", () => {
  it("give their shares at any of them; sys/seal seals both, and a worker that is started then too", async () => {
    const { server, folder } = await start({});
    try {
      const { address } = server;
      using any = connect(address);
      const made = await any.must("POST", "sys/init", { secret_shares: 5, secret_threshold: 3 });
      const keys = [...JSON.parse(JSON.stringify(made["keys_base64"]))].map(String);
      const token = String(made["root_token"]);
      const isSealed = async () => {
        const answers = await Promise.all(
          Array.from({ length: 6 }, async () => {
            using client = connect(address);
            return at(await client.must("GET", "sys/seal-status"), "sealed");
          }),
        );
        return [...new Set(answers)];
      };
      const unseal = async (indices: readonly number[]) => {
        for (const [i, index] of indices.entries()) {
          using client = connect(address);
          const status = await client.must("PUT", "sys/unseal", { key: keys[index] ?? "" });
          expect([status["sealed"], status["progress"]]).toEqual([i < 2, i < 2 ? i + 1 : 0]);
        }
      };
      await unseal([4, 0, 2]);
      expect(await isSealed()).toEqual([false]);
      const [one, two] = await connectToBoth(address, token);
      const [victim = 0] = await workerPids(server);
      process.kill(victim, "SIGKILL");
      await until(() => count(server.output(), /unsealed worker=1/g) === 2, "it is unsealed by itself", server);
      await two.must("PUT", "sys/seal");
      expect(await isSealed()).toEqual([true]);
      const [other = 0] = await workerPids(server);
      process.kill(other, "SIGKILL");
      await until(() => count(server.output(), /listening worker=/g) === 4, "it is back", server);
      expect(await isSealed()).toEqual([true]);
      await unseal([1, 2, 3]);
      expect(await isSealed()).toEqual([false]);
      one[Symbol.dispose]();
      two[Symbol.dispose]();
    } finally {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("two workers with TLS", () => {
  it("both serve LIST, and both take a new certificate on SIGHUP", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-workers-"));
    const authority = await createTestAuthority();
    const [cert, key] = [join(folder, "tls.crt"), join(folder, "tls.key")];
    const install = async (name: string) => {
      const pair = await authority.server(name);
      await Promise.all([writeFile(cert, pair.cert), writeFile(key, pair.key)]);
    };
    await install("first");
    const listener = { tcp: { address: "127.0.0.1:0", tls_cert_file: cert, tls_key_file: key } };
    const { server } = await start({ ...bootstrapped(), listener }, folder);
    try {
      const { address } = server;
      using any = connect(address, "", authority.cert);
      await until(async () => (await any.call("GET", "sys/health")).status === 200, "it is unsealed", server);
      const made = await any.must("POST", "auth/userpass/login/admin", { password: "pw" });
      const token = String(at(made, "auth", "client_token"));
      const [one, two] = await connectToBoth(address, token, authority.cert);
      await one.must("POST", "secret/data/tls/k", { data: {} });
      for (const client of [one, two])
        expect(at(await client.must("LIST", "secret/metadata/tls"), "data", "keys")).toEqual(["k"]);
      await install("second");
      process.kill(server.pid, "SIGHUP");
      await until(() => count(server.output(), /certificate was reloaded worker=\d/g) === 2, "both reload", server);
      one[Symbol.dispose]();
      two[Symbol.dispose]();
    } finally {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
