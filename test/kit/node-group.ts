// Real server processes on one storage, and what can happen to them: kill -9, a new start, being stopped for a while.
// Knows nothing of the storage but its stanza.
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "#common/json.ts";
import { must } from "./client.ts";
import type { Endpoint, Method } from "./endpoint.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "./server.ts";

/** Longer than any pause of a node, on a machine with much to do. */
const REQUEST_MILLIS_MAX = 10_000;
/** The database may be away at a start; a server ends then and says why. */
const STARTS_MAX = 20;

export class Node implements Endpoint {
  readonly name: string;
  readonly #config: string;
  readonly #token: () => string;
  #server: RunningServer | undefined;

  constructor(name: string, config: string, token: () => string) {
    this.name = name;
    this.#config = config;
    this.#token = token;
  }

  get address(): string {
    return this.#running.address;
  }

  get isRunning(): boolean {
    return this.#server !== undefined;
  }

  async start(): Promise<void> {
    this.#server = await startServer([`-config=${this.#config}`]);
  }

  async untilUnsealed(): Promise<void> {
    await untilUnsealed(this.#running);
  }

  async kill9(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.kill9();
  }

  /** As a supervisor does: again and again until it serves, whatever ends it meanwhile. */
  async startAgain(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.start();
        return await this.untilUnsealed();
      } catch (error) {
        if (tries >= STARTS_MAX) throw error;
        await this.kill9();
      }
    }
  }

  /** Stops it where it stands, if it runs; gives what lets it go on. */
  pause(): () => void {
    const server = this.#server;
    server?.signal("SIGSTOP");
    return () => server?.signal("SIGCONT");
  }

  /** The processes of a server that has several: its children. */
  async workers(): Promise<readonly number[]> {
    const { pid } = this.#running;
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    return text.split(" ").filter(Boolean).map(Number);
  }

  output(): string {
    return this.#server?.output() ?? "";
  }

  /** As root unless it is told another token; "" is none. */
  async send(method: Method, path: string, body?: JsonObject, token = this.#token()): ReturnType<Endpoint["send"]> {
    if (this.#server === undefined) return "refused";
    try {
      const response = await fetch(`${this.#server.address}/v1/${path}`, {
        method,
        headers: token === "" ? {} : { "X-Vault-Token": token },
        signal: AbortSignal.timeout(REQUEST_MILLIS_MAX),
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, body: text === "" ? {} : JSON.parse(text) };
    } catch (error) {
      return wasRefused(error) ? "refused" : "lost";
    }
  }

  get #running(): RunningServer {
    if (this.#server === undefined) throw new Error(`${this.name} does not run`);
    return this.#server;
  }
}

export interface NodeGroup {
  readonly nodes: readonly Node[];
  readonly root: string;
  stop(): Promise<void>;
}

/** Starts a node for each stanza, of so many processes, unsealed by themselves, with KV version 2 at kv/. */
export async function startNodes(stanzas: readonly JsonObject[], workers = 1): Promise<NodeGroup> {
  await using started = new AsyncDisposableStack();
  const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "group" } };
  let root = "";
  const nodes: Node[] = [];
  for (const [i, storage] of stanzas.entries()) {
    const folder = await mkdtemp(join(tmpdir(), "coffer-node-"));
    started.defer(() => rm(folder, { recursive: true, force: true }));
    const node = new Node(`node ${i}`, await writeConfig(folder, { seal, storage, workers }), () => root);
    started.defer(() => node.kill9());
    await node.start();
    if (i === 0) {
      const made = await must(node.address, "", "POST", "sys/init", { recovery_shares: 1, recovery_threshold: 1 });
      root = String(made["root_token"]);
    }
    await node.untilUnsealed();
    nodes.push(node);
  }
  await must(nodes[0]?.address ?? "", root, "POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
  const all = started.move();
  return { nodes, root, stop: () => all.disposeAsync() };
}

/** The port of a process that is gone; nothing was sent. */
function wasRefused(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause && cause.code === "ECONNREFUSED";
}
