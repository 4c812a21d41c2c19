// A private etcd for tests: members with data directories of their own, on free ports of the loopback.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "#common/clock.ts";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { list, object, string } from "#common/schema.ts";
import type { StorageFixture } from "../registry.ts";

const START_MILLIS_MAX = 60_000;
const POLL_MILLIS = 25;
const CHANGES_MAX = 40;
const CHANGE_MILLIS = 250;

const memberList = object({ members: list(object({ ID: string, name: string })) });

export interface EtcdServer {
  /** Of all members, in their order; those that were removed stay. */
  readonly addresses: readonly string[];
  /** Ends a member as a power failure would (SIGKILL). */
  kill9(member?: number): Promise<void>;
  /** Starts a member again on the same data and ports. */
  start(member?: number): Promise<void>;
  /** Takes a member out of the cluster and ends it. */
  leave(member: number): Promise<void>;
  /** Adds a member and starts it; it is the last one. */
  join(): Promise<void>;
  pid(member?: number): number;
  /** Stops and removes all of it. */
  remove(): Promise<void>;
}

/** Undefined when etcd is not installed. `flags` are given to every member; `scheme` is https when they say so. */
export async function startEtcd(
  flags: readonly string[] = [],
  members = 1,
  scheme: "http" | "https" = "http",
): Promise<EtcdServer | undefined> {
  const installed = await promisify(execFile)("etcd", ["--version"]).catch(() => undefined);
  if (installed === undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), "coffer-etcd-"));
  const ports = await freePorts(members * 2);
  const places = Array.from({ length: members }, (_, i) => ({
    name: `m${i}`,
    client: `${scheme}://127.0.0.1:${ports[i * 2]}`,
    peer: `http://127.0.0.1:${ports[i * 2 + 1]}`,
  }));
  const server = new LocalEtcd(folder, places, flags);
  await Promise.all(places.map((_, i) => server.start(i)));
  return server;
}

interface Place {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
}

class LocalEtcd implements EtcdServer {
  readonly #folder: string;
  readonly #places: Place[];
  readonly #gone = new Set<number>();
  #state: "new" | "existing" = "new";
  readonly #flags: readonly string[];
  readonly #children: (ChildProcess | undefined)[] = [];
  #output = "";
  readonly #guard: ChildProcess;

  constructor(folder: string, places: readonly Place[], flags: readonly string[]) {
    this.#folder = folder;
    this.#places = [...places];
    this.#flags = flags;
    this.#guard = startGuard(folder);
  }

  get addresses(): readonly string[] {
    return this.#places.map(({ client }) => client);
  }

  async leave(member: number): Promise<void> {
    const name = this.#places[member]?.name;
    const { members } = memberList.parse(await this.#gateway("list", {}));
    await this.#gateway("remove", { ID: members.find((found) => found.name === name)?.ID ?? "" });
    this.#gone.add(member);
    await this.kill9(member);
  }

  async join(): Promise<void> {
    const [client, peer] = (await freePorts(2)).map((port) => `http://127.0.0.1:${port}`);
    if (client === undefined || peer === undefined) throw new Error("no ports");
    await this.#gateway("add", { peerURLs: [peer] });
    this.#places.push({ name: `m${this.#places.length}`, client, peer });
    this.#state = "existing";
    await this.start(this.#places.length - 1);
  }

  /** A call about members, to one that runs. */
  async #gateway(verb: string, body: JsonObject): Promise<JsonValue> {
    const at = this.#places.findIndex((_, i) => isRunning(this.#children[i]) && !this.#gone.has(i));
    const url = `${this.#places[at]?.client}/v3/cluster/member/${verb}`;
    for (let tries = 1; ; tries++) {
      const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
      const text = await response.text();
      if (response.ok) return parseJson(text);
      // A cluster that has just lost or got a member refuses changes until it has settled.
      if (tries >= CHANGES_MAX) throw new Error(`${verb}: ${text}`);
      await systemClock.sleep(CHANGE_MILLIS);
    }
  }

  pid(member = 0): number {
    return this.#children[member]?.pid ?? 0;
  }

  async start(member = 0): Promise<void> {
    this.#spawn(member);
    if (this.#children.filter(isRunning).length > this.#places.length / 2) await this.untilReady();
  }

  #spawn(member: number): void {
    const place = this.#places[member];
    if (place === undefined) throw new Error(`there is no member ${member}`);
    const { name, client, peer } = place;
    const staying = this.#places.filter((_, i) => !this.#gone.has(i));
    const cluster = staying.map((each) => `${each.name}=${each.peer}`).join(",");
    const flags = {
      name,
      "data-dir": join(this.#folder, name),
      "listen-client-urls": client,
      "advertise-client-urls": client,
      "listen-peer-urls": peer,
      "initial-advertise-peer-urls": peer,
      "initial-cluster": cluster,
      "initial-cluster-state": this.#state,
    };
    const argv = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
    const child = spawn("etcd", [...argv, ...this.#flags], { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.on("data", (chunk: Buffer) => (this.#output = (this.#output + String(chunk)).slice(-4096)));
    this.#children[member] = child;
    writeFileSync(join(this.#folder, `${name}.pid`), String(child.pid));
  }

  /** Waits until every member that runs takes connections. */
  async untilReady(): Promise<void> {
    const deadline = systemClock.now() + START_MILLIS_MAX;
    for (const [member, { client }] of this.#places.entries()) {
      while (isRunning(this.#children[member]) && !(await listens(Number(new URL(client).port)))) {
        if (systemClock.now() > deadline) throw new Error(`etcd does not start:\n${this.#output}`);
        await systemClock.sleep(POLL_MILLIS);
      }
    }
    if (!this.#children.some(isRunning)) throw new Error(`etcd does not start:\n${this.#output}`);
  }

  async kill9(member = 0): Promise<void> {
    const child = this.#children[member];
    if (child === undefined || !isRunning(child)) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    await rm(join(this.#folder, `${this.#places[member]?.name}.pid`), { force: true });
  }

  async remove(): Promise<void> {
    for (let member = 0; member < this.#children.length; member++) await this.kill9(member);
    this.#guard.kill("SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Ends the members and removes their data when this process is gone, however it went: its end closes the guard's
 * standard input. Test runners kill their workers without letting them say goodbye.
 */
function startGuard(folder: string): ChildProcess {
  const script = `cat >/dev/null; for file in "$1"/*.pid; do kill -9 "$(cat "$file")"; done; rm -rf "$1"`;
  const guard = spawn("sh", ["-c", script, "sh", folder], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.unref();
  return guard;
}

const isRunning = (child: ChildProcess | undefined) =>
  child !== undefined && child.exitCode === null && child.signalCode === null;

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** All at once, so that none is given twice. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

/** One cluster for all fixtures of a process: each has a path of its own. */
class SharedCluster {
  #server: Promise<EtcdServer | undefined> | undefined;

  get(): Promise<EtcdServer | undefined> {
    this.#server ??= startEtcd();
    return this.#server;
  }
}
const shared = new SharedCluster();

/** A store of its own for the conformance suite. */
export async function startFixture(): Promise<StorageFixture | undefined> {
  const server = await shared.get();
  if (server === undefined) return undefined;
  const path = `t${randomBytes(6).toString("hex")}`;
  return { config: { address: server.addresses.join(","), path }, stop: async () => {} };
}
