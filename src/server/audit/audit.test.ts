// Audit as clients and auditors see it, over a whole server: what a line shows, which device gets it, when a request
// fails, and that no path of the API ever answers unaudited or writes a secret in clear.
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";

let folder: string;
let server: InProcessServer;
let cleanUps: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-audit-"));
  server = await startInProcessServer();
});
afterEach(async () => {
  await server.server.services.audit.close();
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  cleanUps = [];
  await rm(folder, { recursive: true, force: true });
});

const logOf = (name: string) => join(folder, `${name}.log`);
const enable = (name: string, options: JsonObject = {}, type = "file") =>
  server.call("update", `sys/audit/${name}`, {
    type,
    options: { ...(type === "file" && { file_path: logOf(name) }), ...options },
  });

async function entriesOf(name: string): Promise<readonly JsonObject[]> {
  const lines = (await readFile(logOf(name), "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
  return lines.map(parseJson).filter(isJsonObject);
}

/** "type operation path" of a log's entries. */
async function storyOf(name: string): Promise<readonly string[]> {
  return (await entriesOf(name)).map(({ type, request }) => {
    const { operation, path } = isJsonObject(request) ? request : {};
    return `${String(type)} ${String(operation)} ${String(path)}`;
  });
}

describe("lines", () => {
  it("tell of a request and its answer, with secrets as HMACs that audit-hash computes", async () => {
    await enable("file");
    await server.call("update", "cubbyhole/a", { password: "hunter2", count: 3 });
    const [, request, response] = await entriesOf("file");
    const { data } = await server.call("update", "sys/audit-hash/file", { input: "hunter2" });
    const shown = { operation: "create", path: "cubbyhole/a", data: { password: data["hash"], count: 3 } };
    expect(request).toMatchObject({ type: "request", request: { ...shown, mount_type: "cubbyhole" } });
    expect(response).toMatchObject({ type: "response", request: shown, response: { data: null } });
  });

  it("tell whose token it was, of what kind and for how long, and which mount was asked", async () => {
    await enable("file", { hmac_accessor: "false" });
    const { body } = await server.call("update", "auth/token/create", { policies: ["default"], ttl: "1h" });
    const { client_token: token, accessor } = JSON.parse(JSON.stringify(body["auth"]));
    await server.call("read", "auth/token/lookup-self", {}, { token });
    const entry = (await entriesOf("file")).at(-1);
    expect(entry).toMatchObject({
      auth: {
        ...{ accessor, policies: ["default"], token_policies: ["default"], token_type: "service", token_ttl: 3600 },
        token_issue_time: new Date(server.clock.now()).toISOString(),
      },
      request: { client_id: "", client_token_accessor: accessor, mount_class: "auth", mount_type: "token" },
      response: { mount_class: "auth", mount_point: "auth/token/" },
    });
    expect(JSON.stringify(entry)).not.toContain(token);
  });

  it("can be raw, with a prefix, with accessors in clear and with lists counted", async () => {
    await enable("raw", { log_raw: "true", prefix: "@cee: " });
    await enable("file", { hmac_accessor: "false", elide_list_responses: "1" });
    await server.call("update", "cubbyhole/a", { password: "hunter2" });
    await server.call("list", "cubbyhole");
    const raw = await readFile(logOf("raw"), "utf8");
    expect(raw).toMatch(/^@cee: \{"time":/);
    expect(raw).toContain('"password":"hunter2"');
    const last = (await entriesOf("file")).at(-1);
    expect(last).toMatchObject({
      response: { data: { keys: 1 } },
      auth: { client_token: expect.stringMatching(/^hmac-/) },
    });
    expect(JSON.stringify(last?.["auth"])).toMatch(/"accessor":"(?!hmac)/);
  });

  it("hide in messages what the client sent", async () => {
    await enable("file");
    const refused = await server.call("update", "sys/mounts/cubbyhole/tune", { default_lease_ttl: "my-secret-value" });
    expect(refused.error).toContain("my-secret-value");
    const text = await readFile(logOf("file"), "utf8");
    expect(text).toContain('"error":');
    expect(text).not.toContain("my-secret-value");
  });
});

describe("devices", () => {
  it("get what their filters let pass; a fallback gets the rest", async () => {
    await enable("kv", { filter: "mount_type == cubbyhole and operation != list" });
    await enable("rest", { fallback: "true" });
    await server.call("update", "cubbyhole/a", { a: "1" });
    await server.call("list", "cubbyhole");
    await server.call("read", "sys/mounts");
    expect(await storyOf("kv")).toEqual(["request create cubbyhole/a", "response create cubbyhole/a"]);
    expect((await storyOf("rest")).slice(1)).toEqual([
      ...["request list cubbyhole", "response list cubbyhole", "request read sys/mounts", "response read sys/mounts"],
    ]);
    expect((await enable("other", { fallback: "true" })).error).toContain("there is a fallback device already");
  });

  it("have a file each, for the chain's sake; standard output may be shared", async () => {
    await enable("one");
    const second = await enable("two", { file_path: `${folder}/./one.log` });
    expect([second.status, second.error]).toEqual([400, expect.stringContaining("the device one/ writes to")]);
    for (const name of ["three", "four"]) expect((await enable(name, { file_path: "discard" })).status).toBe(204);
  });

  it("need not take what every filter rejects", async () => {
    await enable("none", { filter: "mount_type == transit" });
    expect((await server.call("read", "sys/mounts")).status).toBe(200);
    expect(await storyOf("none")).toEqual([]);
  });

  it("leave out what is excluded", async () => {
    const exclude = [{ condition: "mount_type == cubbyhole", fields: ["/request/data", "/auth"] }];
    await enable("file", { exclude: JSON.stringify(exclude) });
    await server.call("update", "cubbyhole/a", { a: "1" });
    const [, request] = await entriesOf("file");
    expect(request).toMatchObject({ request: { path: "cubbyhole/a" } });
    expect(Object.keys(request ?? {})).toEqual(["time", "type", "request", "chain"]);
  });

  it.each([
    [{ nosuch: "1" }, 'there is no option "nosuch"; this device has file_path'],
    [{ log_raw: "maybe" }, 'log_raw must be true or false, not "maybe"'],
    [{ format: "jsonx" }, "format must be json"],
    [{ filter: "path = a" }, 'filter: unexpected "=" at character 6'],
    [{ exclude: "[" }, "not valid JSON"],
    [{ fallback: "true", filter: "path == a" }, "fallback and filter exclude each other"],
    [{ write_timeout: "9ms" }, "write_timeout must be from 10ms to 1m"],
    [{ write_timeout: "61s" }, "write_timeout must be from 10ms to 1m"],
    [{ prefix: "a\nb" }, "prefix must be at most 1000 characters on one line"],
  ])("with the options %j are refused", async (options, message) => {
    const answer = await enable("file", options);
    expect(answer.status).toBe(400);
    expect(answer.error).toContain(message);
    expect((await server.call("read", "sys/audit")).data).toEqual({});
  });
});

describe("a device that fails", () => {
  it("fails requests when it is the only one, and serves again when it is back", async () => {
    const sub = join(folder, "sub");
    await mkdir(sub);
    await enable("file", { file_path: join(sub, "audit.log") });
    await rm(sub, { recursive: true });
    expect(await server.call("read", "sys/mounts")).toMatchObject({ status: 500 });
    expect((await server.call("update", "cubbyhole/a", { a: "1" })).status).toBe(500);
    await mkdir(sub);
    expect((await server.call("read", "cubbyhole/a")).status).toBe(404);
    expect((await server.call("read", "sys/mounts")).status).toBe(200);
    const text = await readFile(join(sub, "audit.log"), "utf8");
    expect(text).toContain('"path":"cubbyhole/a"'); // what was refused is told once there is somebody to tell
  });

  it("that hangs costs one deadline, and nothing when another accepts", { timeout: 20_000 }, async () => {
    await server.server.services.audit.close();
    server = await startInProcessServer({ parts: { clock: systemClock } });
    const sockets: Socket[] = [];
    const peer = createServer({ pauseOnConnect: true }, (socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
    }).listen(0, "127.0.0.1");
    await once(peer, "listening");
    cleanUps.push(() => {
      for (const socket of sockets) socket.destroy();
      peer.close();
    });
    const { port } = peer.address() as AddressInfo; // listens on a port, so there is one
    await enable("hung", { address: `127.0.0.1:${port}`, write_timeout: "300ms", log_raw: "true" }, "socket");
    const value = "x".repeat(8 * 1024 * 1024); // more than the buffers of a connection hold
    let before = systemClock.now();
    expect((await server.call("update", "cubbyhole/big", { value })).status).toBe(500);
    expect(systemClock.now() - before).toBeGreaterThanOrEqual(290);
    before = systemClock.now();
    expect((await server.call("read", "sys/mounts")).status).toBe(500);
    expect(systemClock.now() - before).toBeLessThan(250);

    // With another device requests pass: the hung one takes part again as soon as it reads.
    for (const socket of sockets) socket.destroy();
    peer.close();
    const reader = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.resume();
    }).listen(port, "127.0.0.1");
    await once(reader, "listening");
    cleanUps.push(() => reader.close());
    let status = 0;
    for (let i = 0; i < 50 && status !== 200; i++) {
      status = (await server.call("read", "sys/mounts")).status;
      await systemClock.sleep(100);
    }
    expect(status).toBe(200);
    await enable("file");
    for (const socket of sockets) socket.pause();
    for (let i = 0; i < 3; i++) expect((await server.call("update", "cubbyhole/big", { value })).status).toBe(204);
    before = systemClock.now();
    for (let i = 0; i < 20; i++) expect((await server.call("read", "sys/mounts")).status).toBe(200);
    expect(systemClock.now() - before).toBeLessThan(1_000);
  });
});

describe("the server's own work", () => {
  it("is told as the actor system", async () => {
    await enable("file");
    await server.call("update", "auth/token/create", { ttl: "10s", policies: ["default"] });
    await server.clock.advance(20_000);
    await server.server.background.sweep();
    const last = (await entriesOf("file")).at(-1);
    expect(last).toMatchObject({
      type: "system",
      auth: { display_name: "system" },
      request: {
        operation: "revoke",
        path: "sys/leases/revoke",
        data: { lease_id: expect.stringMatching(/^auth\/token\/create\//) },
      },
    });
  });
});

describe("every path of the API", () => {
  /** With everything on that can be, and a mount of each type that there is. */
  beforeEach(async () => {
    server = await startInProcessServer({ parts: { rawStorage: true, introspection: true } });
    const { backends } = server.server.services;
    for (const type of backends.types("engines")) await server.call("update", `sys/mounts/an-${type}`, { type });
    for (const type of backends.types("auth")) await server.call("update", `sys/auth/an-${type}`, { type });
    await server.call("update", "sys/mounts/kv2", { type: "kv", options: { version: "2" } });
  });

  interface Call {
    readonly operation: "read" | "update" | "patch" | "delete" | "list" | "scan";
    readonly path: string;
    readonly fields: readonly string[];
  }
  /** Answered while sealed, so they cannot depend on devices whose list is sealed away. */
  const UNAUDITED = /^sys\/(init|seal-status|seal-backend-status|unseal|health|leader)$/;
  /** What ends the server or the token that asks, or waits for a clock that stands still. */
  const NOT_CALLED = /^sys\/seal$|revoke-self$|^sys\/pprof\/(profile|heap|allocs)$/;
  const METHODS = { get: "read", post: "update", patch: "patch", delete: "delete" } as const;

  async function calls(): Promise<readonly Call[]> {
    const answer = await server.call("read", "sys/internal/specs/openapi");
    const paths = answer.body["paths"];
    if (!isJsonObject(paths)) throw new Error(`there is no OpenAPI document: ${JSON.stringify(answer)}`);
    return Object.entries(paths).flatMap(([path, item]) => {
      if (!isJsonObject(item)) return [];
      return Object.entries(METHODS).flatMap(([method, operation]): readonly Call[] => {
        const described = item[method];
        if (!isJsonObject(described)) return [];
        const kinds = [operation, ...(["list", "scan"] as const).filter((kind) => hasParameter(described, kind))];
        return kinds.map((kind) => ({ operation: kind, path: path.slice(1), fields: namesIn(described) }));
      });
    });
  }

  /** One GET stands for reading, listing and scanning. */
  function hasParameter({ parameters }: JsonObject, name: string): boolean {
    return Array.isArray(parameters) && parameters.some((each) => isJsonObject(each) && each["name"] === name);
  }

  /** Names of the body's members, wherever the schema stands. */
  function namesIn(value: JsonObject): readonly string[] {
    return Object.entries(value).flatMap(([key, member]) => {
      if (!isJsonObject(member)) return [];
      return key === "properties" ? Object.keys(member) : namesIn(member);
    });
  }

  const filled = (path: string) => path.replace(/\{[^}]+\}/g, "thing");

  it("answers nothing when no device accepts", { timeout: 60_000 }, async () => {
    const all = await calls();
    expect(all.length).toBeGreaterThan(400);
    const sub = join(folder, "sub");
    await mkdir(sub);
    await enable("file", { file_path: join(sub, "audit.log") });
    await rm(sub, { recursive: true });
    const answered: string[] = [];
    for (const { operation, path } of all) {
      const { status, error } = await server.call(operation, filled(path));
      const isRefused = status === 500 && error.startsWith("no audit device accepted");
      if (!isRefused && !UNAUDITED.test(path)) answered.push(`${operation} ${path}: ${status} ${error}`);
    }
    expect(answered).toEqual([]);
  });

  it("writes no secret in clear, whatever it is sent", { timeout: 120_000 }, async () => {
    const all = (await calls()).filter(({ path }) => !NOT_CALLED.test(path));
    await enable("file");
    const marker = "Sec8ret";
    const secret = fc.string({ maxLength: 20 }).map((text) => `${marker}${text}`);
    const value = fc.oneof(
      ...[secret, fc.array(secret, { maxLength: 3 }), fc.dictionary(fc.constantFrom("a", "b"), secret)],
    );
    for (const call of all) {
      const values = fc.sample(value, 3);
      // Paths to ask about come back as the names of members, which are no values.
      const fields = call.path.startsWith("sys/capabilities") ? [] : call.fields;
      const names = [...fields, "password", "extra"];
      const data = Object.fromEntries(names.map((name, i) => [name, values[i % values.length] ?? ""]));
      // Some answers are no JSON (metrics), which the caller here cannot read; only the log matters.
      await server.call(call.operation, filled(call.path), data).catch(() => {});
    }
    await server.call("update", "auth/token/create", {});
    await server.call("update", "sys/wrapping/wrap", { password: `${marker} wrapped` });
    const text = await readFile(logOf("file"), "utf8");
    expect(text.split("\n").length).toBeGreaterThan(all.length);
    expect(text.split("\n").flatMap((line) => /.{0,300}Sec8ret.{0,100}/.exec(line)?.[0] ?? [])).toEqual([]);
    expect(text).not.toContain(server.rootToken);
    expect(text).not.toMatch(/hv[sbr]\.[\w-]{20}/); // tokens of any kind
  });
});
