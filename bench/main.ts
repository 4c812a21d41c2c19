// `npm run bench`: how many KV reads and writes a second one server process does, and how long they take, beside a bare
// node:http responder measured in the same run on the same machine. The server runs as in production: lmdb, a file audit
// device, TLS left out. Servers and load are processes of their own.
//   -seconds=5   of each measurement         -write   keeps the figures in docs/performance/bench.json
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { type Measured, measure, requestBytes, type Target } from "./load.ts";
import { formatTable, type Row } from "./table.ts";

const KEYS = 1_000;
const WORKERS = [1, 10] as const;
const SECONDS_DEFAULT = 5;
const SECRET = { password: "x".repeat(64) };

interface Workload {
  readonly name: string;
  readonly target: Target;
  /** The workload that it is compared with. */
  readonly yardstick?: string;
}

const options = parseArguments(process.argv.slice(2));
await using ends = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), "coffer-bench-"));
ends.defer(() => rm(folder, { recursive: true, force: true }));
const responder = spawn(process.execPath, [join(import.meta.dirname, "responder.ts")], {
  stdio: ["ignore", "pipe", "inherit"],
});
ends.defer(() => void responder.kill());
// Flags of Node for the server, such as --cpu-prof, come through the environment.
const server = await startShamirServer({}, (process.env["BENCH_NODE_FLAGS"] ?? "").split(" ").filter(Boolean));
ends.defer(() => server.stop());
await prepare(server, folder);
const rows = await measureAll(workloads(server, responder.pid ?? 0, await portOf(responder)), options.seconds);
console.log(formatTable(rows));
if (options.write) await keep(rows);

function parseArguments(argv: readonly string[]): { seconds: number; write: boolean } {
  let seconds = SECONDS_DEFAULT;
  let write = false;
  for (const word of argv) {
    const given = /^--?seconds=(\d+(?:\.\d+)?)$/.exec(word)?.[1];
    if (given !== undefined) seconds = Number(given);
    else if (/^--?write$/.test(word)) write = true;
    else throw new Error(`unknown argument ${word}; there are -seconds=N and -write`);
  }
  return { seconds, write };
}

async function prepare({ address, rootToken }: ShamirServer, dir: string): Promise<void> {
  const post = async (path: string, body: object) => {
    const headers = { "X-Vault-Token": rootToken };
    const response = await fetch(`${address}/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path} answered ${response.status} ${await response.text()}`);
    await response.arrayBuffer();
  };
  await post("sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await post("sys/audit/file", { type: "file", options: { file_path: join(dir, "audit.log") } });
  for (let n = 0; n < KEYS; n++) await post(`secret/data/app/k${n}`, { data: SECRET });
}

function workloads({ address, rootToken, pid }: ShamirServer, barePid: number, barePort: number): readonly Workload[] {
  const { hostname, port } = new URL(address);
  const own = { host: hostname, port: Number(port), pid };
  const bare = { host: "127.0.0.1", port: barePort, pid: barePid };
  const body = JSON.stringify({ data: SECRET });
  const path = (n: number) => `/v1/secret/data/app/k${(n * 7919) % KEYS}`;
  const read = (n: number) => requestBytes("GET", path(n), rootToken, "");
  const write = (n: number) => requestBytes("POST", path(n), rootToken, body);
  return [
    { name: "bare GET", target: { ...bare, request: read } },
    { name: "bare POST", target: { ...bare, request: write } },
    { name: "KV v2 read", target: { ...own, request: read }, yardstick: "bare GET" },
    { name: "KV v2 write", target: { ...own, request: write }, yardstick: "bare POST" },
  ];
}

async function measureAll(all: readonly Workload[], seconds: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const measured = new Map<string, Measured>();
  for (const workers of WORKERS) {
    for (const { name, target, yardstick } of all) {
      const result = await measure(target, workers, seconds);
      measured.set(`${name} ${workers}`, result);
      const bare = measured.get(`${yardstick} ${workers}`);
      rows.push({
        workload: name,
        ...result,
        ...(bare && { ofBare: result.requestsPerSecond / bare.requestsPerSecond }),
      });
    }
  }
  return rows;
}

async function keep(rows: readonly Row[]): Promise<void> {
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? "", cores: availableParallelism() };
  const file = join(import.meta.dirname, "../docs/performance/bench.json");
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, `${JSON.stringify({ machine, seconds: options.seconds, rows }, null, 2)}\n`);
}

async function portOf(child: ChildProcess): Promise<number> {
  if (!child.stdout) throw new Error("the responder has no output to read");
  const [chunk] = await once(child.stdout, "data");
  const port = /listening (\d+)/.exec(String(chunk))?.[1];
  if (port === undefined) throw new Error(`the responder said ${String(chunk)}`);
  return Number(port);
}
