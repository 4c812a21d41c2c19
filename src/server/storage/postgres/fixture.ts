// A private PostgreSQL for tests: a data directory of its own, on a free port of the loopback, from whatever version
// Debian's packages have installed. Runs as another user when the tests run as root, which PostgreSQL refuses.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chown, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { systemClock } from "#common/clock.ts";
import type { StorageFixture } from "../registry.ts";

const INSTALLED = "/usr/lib/postgresql";
const USER = "coffer";
const START_MILLIS_MAX = 60_000;
const POLL_MILLIS = 25;
/** On a busy machine the children of a postmaster that was killed need a moment to notice. */
const STILL_ENDING = "pre-existing shared memory block";

export interface PostgresServer {
  readonly port: number;
  /** Trusts everybody on the loopback. */
  readonly url: string;
  readonly pid: number;
  /** Shuts down at once, cutting off who is connected; what was committed stays. */
  stop(): Promise<void>;
  /** Ends it and all its processes as a power failure would (SIGKILL). */
  kill9(): Promise<void>;
  /** Starts again on the same data and port, with these settings besides. */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Stops and removes all of it. */
  remove(): Promise<void>;
  /** The place of a file in the data directory. */
  path(name: string): string;
  /** Writes a file there as the server wants its keys: its own, for nobody else. */
  write(name: string, text: string): Promise<void>;
}

interface Owner {
  readonly uid?: number;
  readonly gid?: number;
}

/** Undefined when PostgreSQL is not installed. */
export async function startPostgres(
  settings: Readonly<Record<string, string>> = {},
): Promise<PostgresServer | undefined> {
  const programs = await findPrograms();
  if (programs === undefined) return undefined;
  const place = await newPlace(programs);
  const initdb = ["-D", place.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
  await promisify(execFile)(join(programs, "initdb"), initdb, { ...place.owner, cwd: place.folder });
  const server = new LocalPostgres(place);
  await server.start(settings);
  return server;
}

/** A copy that follows the primary and answers reads only, until `SELECT pg_promote()`. */
export async function startStandby(primary: PostgresServer): Promise<PostgresServer> {
  const programs = await findPrograms();
  if (programs === undefined) throw new Error("PostgreSQL is not installed");
  const place = await newPlace(programs);
  const source = ["-h", "127.0.0.1", "-p", String(primary.port), "-U", USER];
  const backup = ["-D", place.data, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
  await promisify(execFile)(join(programs, "pg_basebackup"), [...source, ...backup], {
    ...place.owner,
    cwd: place.folder,
  });
  const server = new LocalPostgres(place);
  await server.start();
  return server;
}

async function newPlace(programs: string): Promise<Place> {
  const owner = await ownerOfData();
  const folder = await mkdtemp("/tmp/coffer-postgres-");
  if (owner.uid !== undefined && owner.gid !== undefined) await chown(folder, owner.uid, owner.gid);
  return { programs, folder, data: join(folder, "data"), owner, port: await freePort() };
}

interface Place {
  readonly programs: string;
  readonly folder: string;
  readonly data: string;
  readonly owner: Owner;
  readonly port: number;
}

class LocalPostgres implements PostgresServer {
  readonly port: number;
  readonly url: string;
  readonly #place: Place;
  #child: ChildProcess | undefined;
  readonly #guard: ChildProcess;

  constructor(place: Place) {
    this.#place = place;
    this.port = place.port;
    this.url = `postgres://${USER}@127.0.0.1:${place.port}/postgres?sslmode=disable`;
    this.#guard = startGuard(place);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  path(name: string): string {
    return join(this.#place.data, name);
  }

  async write(name: string, text: string): Promise<void> {
    await writeFile(this.path(name), text, { mode: 0o600 });
    const { uid, gid } = this.#place.owner;
    if (uid !== undefined && gid !== undefined) await chown(this.path(name), uid, gid);
  }

  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const { programs, folder, data, owner, port } = this.#place;
    const all = { listen_addresses: "127.0.0.1", port: String(port), unix_socket_directories: folder, ...settings };
    const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const deadline = systemClock.now() + START_MILLIS_MAX;
    let run = this.#spawn(["-D", data, ...flags], join(programs, "postgres"), owner);
    while (!(await this.#answers())) {
      if (systemClock.now() > deadline) throw new Error(`PostgreSQL does not start:\n${run.output()}`);
      if (run.child.exitCode !== null) {
        if (!run.output().includes(STILL_ENDING)) throw new Error(`PostgreSQL does not start:\n${run.output()}`);
        run = this.#spawn(["-D", data, ...flags], join(programs, "postgres"), owner);
      }
      await systemClock.sleep(POLL_MILLIS);
    }
  }

  #spawn(argv: readonly string[], program: string, owner: Owner) {
    const child = spawn(program, argv, { ...owner, stdio: ["ignore", "ignore", "pipe"] });
    let output = "";
    child.stderr.on("data", (chunk: Buffer) => (output = (output + String(chunk)).slice(-4096)));
    this.#child = child;
    return { child, output: () => output };
  }

  stop(): Promise<void> {
    return this.#end(() => this.#child?.kill("SIGINT"));
  }

  async kill9(): Promise<void> {
    // Its children end when they find the postmaster gone, which may take them a moment; nobody can connect meanwhile.
    await this.#end(() => this.#child?.kill("SIGKILL"));
    await rm(this.path("postmaster.pid"), { force: true });
  }

  async remove(): Promise<void> {
    await this.stop();
    this.#guard.kill("SIGKILL");
    await rm(this.#place.folder, { recursive: true, force: true });
  }

  async #end(signal: () => void): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    signal();
    await ended;
  }

  async #answers(): Promise<boolean> {
    const client = new Client({ connectionString: this.url });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.end();
      return true;
    } catch {
      return false;
    }
  }
}

/**
 * Ends the server and removes its data when this process is gone, however it went: its end closes the guard's standard
 * input. Test runners kill their workers without letting them say goodbye.
 */
function startGuard({ folder, data, owner }: Place): ChildProcess {
  const script = `cat >/dev/null; kill -QUIT "$(head -n 1 "$2/postmaster.pid")"; sleep 1; rm -rf "$1"`;
  const guard = spawn("sh", ["-c", script, "sh", folder, data], {
    ...owner,
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.unref();
  return guard;
}

/** The newest installed version's folder of programs. */
async function findPrograms(): Promise<string | undefined> {
  const versions = await readdir(INSTALLED).catch((): string[] => []);
  const newest = versions
    .map(Number)
    .filter(Number.isInteger)
    .sort((a, b) => b - a)[0];
  if (newest === undefined) return undefined;
  const programs = join(INSTALLED, String(newest), "bin");
  const names = await readdir(programs).catch((): string[] => []);
  return names.includes("postgres") && names.includes("initdb") ? programs : undefined;
}

/** The user that Debian's package makes; nobody else needs to be, unless the tests run as root. */
async function ownerOfData(): Promise<Owner> {
  if (process.getuid?.() !== 0) return {};
  const line = (await readFile("/etc/passwd", "utf8")).split("\n").find((entry) => entry.startsWith("postgres:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** One server for all fixtures of a process: making one takes seconds, and each fixture has tables of its own. */
class SharedServer {
  #server: Promise<PostgresServer | undefined> | undefined;

  /** Not durable, so fast; ended with the process. */
  get(): Promise<PostgresServer | undefined> {
    this.#server ??= startPostgres({ fsync: "off", full_page_writes: "off" });
    return this.#server;
  }
}
const shared = new SharedServer();

/** A store of its own for the conformance suite. */
export async function startFixture(): Promise<StorageFixture | undefined> {
  const server = await shared.get();
  if (server === undefined) return undefined;
  const schema = `t${randomBytes(6).toString("hex")}`;
  await execute(server.url, `CREATE SCHEMA ${schema}`);
  return {
    config: { connection_url: server.url, table: `${schema}.kv` },
    stop: () => execute(server.url, `DROP SCHEMA ${schema} CASCADE`),
  };
}

/** Runs SQL on a connection of its own. */
export async function execute(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    await client.query(text);
  } finally {
    await client.end();
  }
}
