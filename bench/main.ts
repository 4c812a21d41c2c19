// `npm run bench`: how many requests of each kind a server answers in a second, how long they take, and how much
// processor time the server needs for them, beside limits of the same run on the same machine: a bare node:http
// responder, one that does what a read cannot be without, and the storage without a server (limits.ts). The server runs as in production: durable storage,
// a file audit device, TLS left out; or it is any server of this API by its address, configured by whoever started it,
// its root token in BENCH_TOKEN. Servers and load are processes of their own. Closed loop: a client sends the next
// request when the last one is answered, so latencies are those of this load and no other.
// BENCH_NODE_FLAGS: flags of Node for the server, such as --cpu-prof. The other options: arguments.ts.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { requireStorageKind } from "#server/storage/registry.ts";
import { startShamirServer } from "#test/kit/server.ts";
import { type BenchOptions, parseArguments } from "./arguments.ts";
import { drawChart } from "./chart.ts";
import { type BareResponder, openRawStorage, type RawStorage, startNecessaryRead, startResponder } from "./limits.ts";
import { type Measured, measure, type Target } from "./load.ts";
import { formatTable, type Row } from "./table.ts";
import { prepareWorkloads, type ServerToAsk, type Workload } from "./workloads.ts";

interface ServerToMeasure extends ServerToAsk {
  readonly pid: number | undefined;
}

const options = parseArguments(process.argv.slice(2));
await using ends = new AsyncDisposableStack();
using bare = await startResponder();
using necessary = await startNecessaryRead();
const raw = ends.use(await openRawStorage(options.storage));
const server = options.address === undefined ? await startOwn(options) : running(options.address, options.pid);
const workloads = await prepareWorkloads(server, options.workloads);
const rows = await measureAll({ server, bare, necessary, raw }, workloads);
console.log(formatTable(rows));
if (options.write) await keep(rows);

async function startOwn({ storage, processes }: BenchOptions): Promise<ServerToMeasure> {
  const folder = await mkdtemp(join(tmpdir(), "coffer-bench-"));
  ends.defer(() => rm(folder, { recursive: true, force: true }));
  const fixture = storage === "lmdb" ? undefined : await requireStorageKind(storage).startFixture();
  if (storage !== "lmdb" && !fixture) throw new Error(`${storage} is not installed here`);
  if (fixture) ends.defer(() => fixture.stop());
  const flags = (process.env["BENCH_NODE_FLAGS"] ?? "").split(" ").filter(Boolean);
  const stanzas = { workers: processes, ...(fixture && { storage: { [storage]: fixture.config } }) };
  const { address, rootToken, pid, stop } = await startShamirServer(stanzas, flags);
  ends.defer(stop);
  const headers = { "X-Vault-Token": rootToken };
  const device = { type: "file", options: { file_path: join(folder, "audit.log") } };
  const response = await fetch(`${address}/v1/sys/audit/file`, {
    ...{ method: "POST", headers, body: JSON.stringify(device) },
  });
  if (!response.ok) throw new Error(`sys/audit/file answered ${await response.text()}`);
  return { address, token: rootToken, pid };
}

function running(address: string, pid: number | undefined): ServerToMeasure {
  const token = process.env["BENCH_TOKEN"];
  if (!token) throw new Error("give the root token of that server in the environment as BENCH_TOKEN");
  return { address, token, pid };
}

interface Measurable {
  readonly server: ServerToMeasure;
  readonly bare: BareResponder;
  readonly necessary: Target;
  readonly raw: RawStorage | undefined;
}

async function measureAll(measurable: Measurable, all: readonly Workload[]): Promise<readonly Row[]> {
  const { server, bare, necessary, raw } = measurable;
  const rows: Row[] = [];
  const { hostname, port } = new URL(server.address);
  const place = { host: hostname, port: Number(port), pid: server.pid };
  for (const workers of options.workers) {
    const limits = {
      GET: await measure(bare.GET, workers, options.seconds),
      POST: await measure(bare.POST, workers, options.seconds),
    };
    const read = await measure(necessary, workers, options.seconds);
    const commits = await raw?.measure(workers, options.seconds);
    rows.push({ workload: "bare GET", ...limits.GET }, { workload: "bare POST", ...limits.POST });
    rows.push(compared({ name: "necessary read", commits: false }, read, { bare: limits.GET }));
    if (commits) rows.push({ workload: `${options.storage} commit`, ...commits });
    for (const workload of all) {
      const target: Target = { ...place, request: () => workload.next() };
      const measured = await measure(target, workers, options.seconds);
      rows.push(compared(workload, measured, { bare: limits[workload.yardstick], raw: commits, necessary: read }));
    }
  }
  return rows;
}

interface Limits {
  readonly bare: Measured;
  readonly raw?: Measured | undefined;
  readonly necessary?: Measured;
}

function compared(
  { name, commits, isNecessaryRead }: Pick<Workload, "name" | "commits" | "isNecessaryRead">,
  measured: Measured,
  { bare, raw, necessary }: Limits,
): Row {
  return {
    workload: name,
    ...measured,
    ofBare: measured.requestsPerSecond / bare.requestsPerSecond,
    cpuOfBare: measured.cpuMicros / bare.cpuMicros,
    ...(commits && raw && { ofRaw: measured.requestsPerSecond / raw.requestsPerSecond }),
    ...(isNecessaryRead && necessary && { cpuOfNecessary: measured.cpuMicros / necessary.cpuMicros }),
  };
}

async function keep(rows: readonly Row[]): Promise<void> {
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? "", cores: availableParallelism() };
  const { seconds, storage, processes, address } = options;
  const what = address === undefined ? { storage, processes } : { address };
  const folder = join(import.meta.dirname, "../docs/performance");
  await mkdir(folder, { recursive: true });
  const name = address === undefined ? `${storage}-${processes}` : "peer";
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify({ machine, seconds, ...what, rows }, null, 2)}\n`);
  await writeFile(join(folder, `${name}.svg`), drawChart(rows, `${name}, ${machine.cpu}, ${machine.cores} cores`));
}
