// One agent, as the injector starts it: memory after many refreshes, processor time while it has nothing to do, the time
// to its first file, and logins after its container was killed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { cpuMillis, type Memory, median, memoryOf, rounded } from "./process-figures.ts";
import type { World } from "./world.ts";

const FLAGS = ["--lite-mode", "--disable-warning=ExperimentalWarning"];
const POLL_MILLIS = 2;
const WAIT_MILLIS_MAX = 240_000;

export interface Programs {
  /** The product's bundle. */
  readonly coffer: string;
  readonly hurried: string;
}

interface Agent extends Disposable {
  readonly child: ChildProcess;
  readonly pid: number;
  /** How often its log has said so. */
  count(message: string): number;
}

const TEMPLATE = '{{ with secret "secret/data/pods/0" }}user={{ .Data.data.user }}{{ end }}';
const YAML_TEMPLATE = '{{ with secret "secret/data/pods/0" }}{{ .Data.data | toYAML }}{{ end }}';
const PROXY = {
  listeners: [{ type: "tcp", address: "127.0.0.1:0" }],
  proxy: { useAutoAuthToken: "WhenMissing" },
  cache: true,
};

/** What pods ask for, from the least to the most. */
export const SHAPES: Readonly<Record<string, (out: string) => JsonObject>> = {
  "JSON file": (out) => ({ files: [{ path: out, source: "own", format: "JSON" }] }),
  "YAML file": (out) => ({ files: [{ path: out, source: "own", format: "YAML" }] }),
  template: (out) => ({ files: [{ path: out, format: "Template", template: { text: TEMPLATE } }] }),
  "template, toYAML": (out) => ({ files: [{ path: out, format: "Template", template: { text: YAML_TEMPLATE } }] }),
  "JSON file, proxy": (out) => ({ files: [{ path: out, source: "own", format: "JSON" }], ...PROXY }),
};

function start(program: string, world: World, change: JsonObject): Agent {
  const own = join(world.folder, "0");
  const config = {
    address: world.address,
    auth: { mount: "kubernetes", role: "web", tokenFile: join(own, "token") },
    sources: [{ name: "own", path: "secret/pods/0" }],
    ...{ mode: "Sidecar", refreshIntervalSeconds: 300, readyFile: join(own, "ready") },
    ...change,
  };
  const env = { PATH: process.env["PATH"], COFFER_AGENT_CONFIG: JSON.stringify(config), NODE_ENV: "production" };
  const words = program.endsWith("coffer/program.js") ? [program, "agent"] : [program];
  const child = spawn(process.execPath, [...FLAGS, ...words], { env, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString("utf8");
  });
  return {
    child,
    pid: child.pid ?? 0,
    count: (message) => log.split(`"message":"${message}"`).length - 1,
    [Symbol.dispose]: () => void child.kill("SIGKILL"),
  };
}

async function until(is: () => boolean, pollMillis = POLL_MILLIS): Promise<void> {
  const deadline = systemClock.now() + WAIT_MILLIS_MAX;
  while (!is()) {
    if (systemClock.now() > deadline) throw new Error("waited in vain");
    await systemClock.sleep(pollMillis);
  }
}

async function end(agent: Agent, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  const ended = once(agent.child, "exit");
  agent.child.kill(signal);
  await ended;
}

/** Memory when it is ready, and after so many refreshes, each with another value. */
export async function measureMemory(programs: Programs, world: World, shape: string, refreshes: number) {
  const out = join(world.folder, "0/out");
  const document = SHAPES[shape]?.(out) ?? {};
  // Waits are 40 times shorter, deadlines must not be.
  const hurry = { refreshIntervalSeconds: 1, timeoutSeconds: 600, events: false };
  using agent = start(programs.hurried, world, { ...document, ...hurry });
  await until(() => agent.count("ready") > 0);
  const first: Memory = memoryOf(agent.pid);
  for (let n = 0; agent.count("refreshed") < refreshes; n++) {
    await world.write("secret/data/pods/0", { data: { user: `user-${n}`, password: "x".repeat(64) } });
    await systemClock.sleep(POLL_MILLIS * 20);
  }
  const last = memoryOf(agent.pid);
  await end(agent, "SIGTERM");
  return { shape, atStart: first, afterRefreshes: last, refreshes: agent.count("refreshed") };
}

/** Processor time of an agent that hears of changes and has nothing to do, as per cent of a core. */
export async function measureIdle(programs: Programs, world: World, seconds: number) {
  const out = join(world.folder, "0/out");
  using agent = start(programs.coffer, world, SHAPES["JSON file"]?.(out) ?? {});
  await until(() => agent.count("changes are told by the server") > 0 && agent.count("refreshed") > 0);
  const before = cpuMillis(agent.pid);
  await systemClock.sleep(seconds * 1000);
  const spent = cpuMillis(agent.pid) - before;
  const memory = memoryOf(agent.pid);
  await end(agent, "SIGTERM");
  return { seconds, cpuMillis: spent, percentOfCore: rounded(spent / seconds / 10), ...memory };
}

/** From the start of the process to its first file, and the processor time of all that. */
export async function measureStart(programs: Programs, world: World, times: number) {
  const out = join(world.folder, "0/out");
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let n = 0; n < times; n++) {
    rmSync(out, { force: true });
    const from = performance.now();
    using agent = start(programs.coffer, world, SHAPES["JSON file"]?.(out) ?? {});
    await until(() => existsSync(out));
    wall.push(Math.round(performance.now() - from));
    cpu.push(cpuMillis(agent.pid));
    await end(agent, "SIGTERM");
  }
  return { medianMillis: median(wall), all: wall, medianCpuMillis: median(cpu) };
}

/** Logins beyond the first when the agent's container is killed and started again. */
export async function measureRestart(programs: Programs, world: World) {
  // As in a pod, where it is in memory; the agent keeps no state on a disk.
  const memory = mkdtempSync("/dev/shm/coffer-bench-");
  using _cleanUp = { [Symbol.dispose]: () => rmSync(memory, { recursive: true, force: true }) };
  const stateFile = join(memory, "agent-state");
  const document = { ...SHAPES["JSON file"]?.(join(world.folder, "0/out")), stateFile };
  using first = start(programs.coffer, world, document);
  await until(() => first.count("ready") > 0);
  await end(first, "SIGKILL");
  using second = start(programs.coffer, world, document);
  await until(() => second.count("ready") > 0);
  const extraLogins = second.count("logged in");
  await end(second, "SIGTERM");
  return { extraLogins };
}
