// The agent program against a scripted server: first delivery, waiting, rotation, dead tokens and its end.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { describe, expect, it } from "vitest";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";
import {
  authBlock,
  enveloped,
  refused,
  type ScriptedAnswer,
  type SeenRequest,
  startScriptedApi,
} from "#test/scripted-api.ts";
import { run } from "./main.ts";

/** A small server: logins, KV v2 at secret/, and a "database" that makes a new user at each read. */
async function startPod(secrets: Record<string, JsonValue | undefined>, change: JsonObject = {}) {
  const folder = await mkdtemp(join(tmpdir(), "coffer-agent-"));
  const state = { secrets, logins: 0, denied: new Set<string>(), deadTokens: new Set<string>(), users: 0, down: false };
  const api = await startScriptedApi((seen) => (state.down ? "cut" : answer(state, seen)));
  await writeFile(join(folder, "jwt"), "jwt");
  const config = {
    address: api.address,
    auth: { mount: "kubernetes", role: "app", tokenFile: join(folder, "jwt") },
    sources: [{ name: "db", path: "secret/db" }],
    files: [{ path: join(folder, "out/db.json"), source: "db", format: "JSON" }],
    mode: "Init",
    refreshIntervalSeconds: 30,
    readyFile: join(folder, "ready"),
    ...change,
  };
  const end = new AbortController();
  let log = "";
  // Refreshes are 30 s apart and end at once; only the agent's deadlines and token renewals (ttl 3600 s) stand.
  const clock = new HastyClock(15_000, 2_000);
  const io = {
    stdout: { write: () => true },
    stderr: { write: (text: string) => (log += text) },
    readStdin: async () => Buffer.alloc(0),
    env: { COFFER_AGENT_CONFIG: JSON.stringify(config) },
    ...{ cwd: folder, clock, signal: end.signal },
  };
  return {
    ...{ api, state, folder, io, end, clock },
    log: () => log,
    file: (name: string) => readFile(join(folder, name), "utf8"),
    async [Symbol.asyncDispose]() {
      end.abort();
      await api[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface State {
  secrets: Record<string, JsonValue | undefined>;
  logins: number;
  denied: Set<string>;
  deadTokens: Set<string>;
  users: number;
}

function answer(state: State, { path, headers }: SeenRequest): ScriptedAnswer {
  if (path === "auth/kubernetes/login") return enveloped(null, { auth: authBlock(`t${++state.logins}`, 3600) });
  if (state.deadTokens.has(String(headers["x-vault-token"]))) return refused(403, "permission denied");
  if (path.startsWith("sys/internal/ui/mounts/secret")) {
    return enveloped({ path: "secret/", type: "kv", options: { version: "2" } });
  }
  if (path.startsWith("sys/internal/ui/mounts/database")) return enveloped({ path: "database/", type: "database" });
  if (path.startsWith("database/")) {
    return enveloped({ user: `u${++state.users}` }, { lease_id: "l", lease_duration: 3000 });
  }
  if (path.startsWith("auth/token/")) return path.endsWith("revoke-self") ? { status: 204 } : enveloped({ id: "x" });
  const name = path.replace("secret/data/", "");
  if (state.denied.has(name)) return refused(403, "permission denied");
  const data = state.secrets[name];
  return data === undefined ? refused(404) : enveloped({ data, metadata: { version: 1 } });
}

/** Polls longer than a deadline lasts. */
const eventually = <T>(value: () => T) => expect.poll(value, { timeout: 10_000, interval: 10 });

describe("init", () => {
  it("renders once, marks itself ready, revokes its token and ends", async () => {
    await using pod = await startPod({ db: { user: "u" } });
    expect(await run([], pod.io)).toBe(0);
    expect(await pod.file("out/db.json")).toBe('{\n  "user": "u"\n}\n');
    expect((await stat(join(pod.folder, "out/db.json"))).mode & 0o777).toBe(0o440);
    expect(await pod.file("ready")).toBe("ready\n");
    expect(await readdir(join(pod.folder, "out"))).toEqual(["db.json"]);
    expect(pod.api.seen.at(-1)).toMatchObject({ path: "auth/token/revoke-self" });
    expect(pod.log()).toContain('"message":"ready"');
    expect(await run(["-check-ready"], pod.io)).toBe(0);
  });

  it("waits for a missing secret and says 404 and its path", async () => {
    await using pod = await startPod({});
    const running = run([], pod.io);
    await eventually(pod.log).toContain('there is nothing at \\"secret/db\\" (404)');
    expect(await run(["-check-ready"], pod.io)).toBe(1);
    pod.state.secrets["db"] = { user: "late" };
    expect(await running).toBe(0);
    expect(await pod.file("out/db.json")).toContain("late");
  });

  it("waits for a denied secret, says 403, and does not log in again for it", async () => {
    await using pod = await startPod({ db: { user: "u" } });
    pod.state.denied.add("db");
    const running = run([], pod.io);
    await eventually(pod.log).toContain('the role may not read \\"secret/db\\" (403)');
    pod.state.denied.clear();
    expect(await running).toBe(0);
    expect(pod.state.logins).toBe(1);
  });

  it("does not wait for an optional secret", async () => {
    const sources = [{ name: "db", path: "secret/db", optional: true }];
    await using pod = await startPod({}, { sources });
    expect(await run([], pod.io)).toBe(0);
    await expect(pod.file("out/db.json")).rejects.toThrow("ENOENT");
    expect(pod.log()).toContain("optional source is absent");
  });

  it("leaves leased credentials alive", async () => {
    const sources = [{ name: "db", path: "database/creds/r" }];
    await using pod = await startPod({}, { sources });
    expect(await run([], pod.io)).toBe(0);
    expect(await pod.file("out/db.json")).toContain("u1");
    expect(pod.api.seen.some((seen) => seen.path === "auth/token/revoke-self")).toBe(false);
  });

  it("holds the pod when a value cannot be written, without telling it", async () => {
    const environments = (folder: string) => [
      { path: `${folder}/env`, format: "FileKeyRef", variables: [{ name: "PW", source: "db", key: "pw" }] },
    ];
    const folder = await mkdtemp(join(tmpdir(), "coffer-agent-"));
    await using pod = await startPod({ db: { pw: "o'hush" } }, { environments: environments(folder) });
    const running = run([], pod.io);
    await eventually(pod.log).toContain("the value for PW");
    expect(pod.log()).not.toContain("hush");
    pod.state.secrets["db"] = { pw: "fine" };
    expect(await running).toBe(0);
    expect(await readFile(join(folder, "env"), "utf8")).toBe("PW='fine'\n");
    await rm(folder, { recursive: true });
  });
});

describe("sidecar", () => {
  const sidecar = { mode: "Sidecar" };

  it("follows a rotation, leaves equal files alone, and revokes at its end", async () => {
    await using pod = await startPod({ db: { user: "u1" } }, sidecar);
    const running = run([], pod.io);
    await eventually(pod.log).toContain('"unchanged":1');
    const before = await stat(join(pod.folder, "out/db.json"));
    await eventually(() => pod.log().split('"refreshed"').length).toBeGreaterThan(4);
    expect((await stat(join(pod.folder, "out/db.json"))).ino).toBe(before.ino);
    pod.state.secrets["db"] = { user: "u2" };
    await eventually(() => pod.file("out/db.json")).toContain("u2");
    pod.end.abort();
    expect(await running).toBe(0);
    expect(pod.api.seen.at(-1)).toMatchObject({ path: "auth/token/revoke-self" });
    expect(pod.log()).not.toContain("u2");
  });

  it("keeps the last content of a source that goes away, or a server that does", async () => {
    await using pod = await startPod({ db: { user: "u1" } }, sidecar);
    const running = run([], pod.io);
    await eventually(pod.log).toContain("refreshed");
    pod.state.secrets["db"] = undefined;
    await eventually(pod.log).toContain("(404); write the secret there; the last content is kept");
    pod.state.down = true;
    await eventually(pod.log).toContain("cannot be read");
    expect(await pod.file("out/db.json")).toContain("u1");
    pod.state.down = false;
    pod.state.secrets["db"] = { user: "u2" };
    await eventually(() => pod.file("out/db.json")).toContain("u2");
    pod.end.abort();
    expect(await running).toBe(0);
  });

  it("logs in again when the server does not know its token", async () => {
    await using pod = await startPod({ db: { user: "u1" } }, sidecar);
    const running = run([], pod.io);
    await eventually(pod.log).toContain("refreshed");
    pod.state.deadTokens.add("t1");
    pod.state.secrets["db"] = { user: "u2" };
    await eventually(() => pod.file("out/db.json")).toContain("u2");
    expect(pod.state.logins).toBe(2);
    pod.end.abort();
    expect(await running).toBe(0);
  });

  it("reads a leased credential anew only when two thirds of its lease are over", async () => {
    const sources = [{ name: "db", path: "database/creds/r" }];
    await using pod = await startPod({}, { ...sidecar, sources, jitterPercent: 0 });
    const start = pod.clock.now();
    const running = run([], pod.io);
    await eventually(() => pod.state.users).toBe(2);
    expect(pod.clock.now() - start).toBeGreaterThanOrEqual(2_000_000);
    pod.end.abort();
    expect(await running).toBe(0);
  });

  it("removes the files of keys that are gone", async () => {
    await using pod = await startPod({ db: { a: "1", b: "2" } }, sidecar);
    const files = [{ path: join(pod.folder, "keys"), source: "db", format: "PerKey" }];
    const config = JSON.parse(pod.io.env.COFFER_AGENT_CONFIG);
    const running = run([], { ...pod.io, env: { COFFER_AGENT_CONFIG: JSON.stringify({ ...config, files }) } });
    await eventually(pod.log).toContain("refreshed");
    expect((await readdir(join(pod.folder, "keys"))).sort()).toEqual(["a", "b"]);
    pod.state.secrets["db"] = { a: "1" };
    await eventually(() => readdir(join(pod.folder, "keys"))).toEqual(["a"]);
    pod.end.abort();
    expect(await running).toBe(0);
  });

  it("ends at once when told so while it waits for the server", async () => {
    await using pod = await startPod({}, sidecar);
    pod.state.down = true;
    const running = run([], pod.io);
    await eventually(pod.log).toContain("login failed");
    pod.end.abort();
    expect(await running).toBe(0);
  });
});

it("writes a keystore once, with a password from another source, and says what is missing", async () => {
  const authority = await createTestAuthority();
  const { cert, key } = await authority.server("app");
  await using pod = await startPod({ tls: { certificate: cert, private_key: key } }, { mode: "Sidecar" });
  const keystore = { password: { source: "pw", key: "password" } };
  const sources = [
    { name: "tls", path: "secret/tls" },
    { name: "pw", path: "secret/pw" },
  ];
  const path = join(pod.folder, "app.p12");
  Object.assign(
    pod.io.env,
    changedConfig(pod, { sources, files: [{ path, source: "tls", format: "PKCS12", keystore }] }),
  );
  const running = run([], pod.io);
  await eventually(pod.log).toContain('the source \\"pw\\", which has the password, cannot be read');
  pod.state.secrets["pw"] = { password: "hush-hush" };
  await eventually(pod.log).toContain('"message":"ready"');
  const pfx = await readFile(path);
  expect(() => createSecureContext({ pfx, passphrase: "hush-hush" })).not.toThrow();
  await eventually(() => pod.log().split('"refreshed"').length).toBeGreaterThan(3);
  expect(pod.log().split('"message":"wrote"')).toHaveLength(2);
  expect(pod.log()).not.toContain("hush-hush");
  pod.end.abort();
  expect(await running).toBe(0);
});

it("refuses arguments and a missing configuration", async () => {
  await using pod = await startPod({});
  expect(await run(["-x"], pod.io)).toBe(1);
  expect(await run([], { ...pod.io, env: {} })).toBe(1);
  expect(pod.log()).toContain("COFFER_AGENT_CONFIG is not set");
});

describe("what the annotations of vault-k8s ask for", () => {
  const raw = (path: string) => ({ name: "db", path, raw: true });
  const file = (folder: string, more: object) => ({ path: join(folder, "file"), source: "db", mode: "0644", ...more });

  it.each(["secret/data/db", "secret/db", "/secret/data/db?version=2"])("reads %s whole", async (path) => {
    await using pod = await startPod({ db: { user: "u" } });
    Object.assign(
      pod.io.env,
      changedConfig(pod, { sources: [raw(path)], files: [file(pod.folder, { format: "VaultMap" })] }),
    );
    expect(await run([], pod.io)).toBe(0);
    expect(await pod.file("file")).toBe("data: map[user:u]\nmetadata: map[version:1]\n");
    const read = pod.api.seen.find((seen) => seen.path.startsWith("secret/"));
    expect(read).toMatchObject({ path: "secret/data/db" });
  });

  it("leaves the token to the pod that it was written for, and sends the namespace with every call", async () => {
    await using pod = await startPod({});
    const change = {
      namespace: "team",
      revokeOnExit: false,
      sources: [raw("auth/token/lookup-self")],
      files: [file(pod.folder, { format: "Line", key: "id" })],
    };
    Object.assign(pod.io.env, changedConfig(pod, change));
    expect(await run([], pod.io)).toBe(0);
    expect(await pod.file("file")).toBe("x\n");
    expect(pod.api.seen.map(({ path }) => path)).not.toContain("auth/token/revoke-self");
    expect(new Set(pod.api.seen.map(({ headers }) => headers["x-vault-namespace"]))).toEqual(new Set(["team"]));
  });

  it("says when the process that wants a signal is not there, at a change and not at the first time", async () => {
    const onChange = { signal: "SIGHUP", process: "no-such-process-here" };
    await using pod = await startPod({ db: { user: "a" } });
    const change = { mode: "Sidecar", files: [file(pod.folder, { format: "JSON", onChange })] };
    Object.assign(pod.io.env, changedConfig(pod, change));
    const running = run([], pod.io);
    await eventually(pod.log).toContain('"message":"ready"');
    expect(pod.log()).not.toContain("no such process");
    pod.state.secrets["db"] = { user: "b" };
    await eventually(pod.log).toContain("no such process to signal");
    pod.end.abort();
    expect(await running).toBe(0);
  });
});

it("signals the first change of a template after a restart that found its file", async () => {
  const onChange = { signal: "SIGHUP", process: "no-such-process-here" };
  await using pod = await startPod({ db: { user: "a" } });
  const template = { text: '{{ with secret "secret/db" }}{{ .Data.data.user }}{{ end }}' };
  const files = [{ path: join(pod.folder, "file"), format: "Template", template, mode: "0644", onChange }];
  Object.assign(pod.io.env, changedConfig(pod, { mode: "Sidecar", sources: [], files }));
  await writeFile(join(pod.folder, "file"), "a", { mode: 0o644 });
  const running = run([], pod.io);
  await eventually(pod.log).toContain('"message":"ready"');
  pod.state.secrets["db"] = { user: "b" };
  await eventually(pod.log).toContain("no such process to signal");
  pod.end.abort();
  expect(await running).toBe(0);
});

function changedConfig(pod: { io: { env: { COFFER_AGENT_CONFIG: string } } }, change: object) {
  return { COFFER_AGENT_CONFIG: JSON.stringify({ ...JSON.parse(pod.io.env.COFFER_AGENT_CONFIG), ...change }) };
}

describe("a sidecar that is started anew", () => {
  const sources = [{ name: "db", path: "database/creds/r" }];

  it("goes on with its token and its credentials, and leaves neither behind at its end", async () => {
    const volume = await mkdtemp("/dev/shm/coffer-agent-");
    const change = { mode: "Sidecar", sources, readyFile: join(volume, "ready"), jitterPercent: 0 };
    await using pod = await startPod({}, change);
    const first = run([], pod.io);
    await eventually(pod.log).toContain('"message":"ready"');
    // As by SIGKILL: nothing is revoked.
    pod.state.down = true;
    pod.end.abort();
    await first;
    pod.state.down = false;
    const again = new AbortController();
    const second = run([], { ...pod.io, signal: again.signal });
    await eventually(pod.log).toContain("going on with the token of before");
    await eventually(() => pod.log().split('"message":"ready"').length).toBe(3);
    expect(pod.state).toMatchObject({ logins: 1, users: 1 });
    again.abort();
    expect(await second).toBe(0);
    expect(await readdir(volume)).toEqual(["ready"]);
    await rm(volume, { recursive: true });
  });

  it("keeps nothing where that would be on a disk", async () => {
    await using pod = await startPod({ db: { user: "u" } }, { mode: "Sidecar", stateFile: "/proc/state" });
    expect(await run([], pod.io)).toBe(1);
    expect(pod.log()).toContain("put it on a tmpfs");
  });
});

it("takes files away that could not be refreshed for too long, and is not ready without them", async () => {
  await using pod = await startPod({ db: { user: "u1" } }, { mode: "Sidecar", maxStaleSeconds: 120 });
  const running = run([], pod.io);
  await eventually(pod.log).toContain("refreshed");
  pod.state.down = true;
  await eventually(pod.log).toContain("could not be refreshed for longer than maxStale");
  await expect(pod.file("out/db.json")).rejects.toThrow("ENOENT");
  await eventually(() => pod.file("ready").catch(() => "gone")).toBe("gone");
  pod.state.down = false;
  await eventually(() => pod.file("out/db.json").catch(() => "")).toContain("u1");
  await eventually(() => pod.file("ready").catch(() => "")).toBe("ready\n");
  pod.end.abort();
  expect(await running).toBe(0);
});
