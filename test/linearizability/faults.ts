// What happens to nodes, to their connections and to the database while clients are at work, as the seed has it: one
// lane of kills, beside it one of everything else. All is well again when `runFaults` has ended.
import { systemClock } from "#common/clock.ts";
import type { Node } from "#test/kit/node-group.ts";
import { SeededRandom } from "#test/kit/seeded-random.ts";
import type { TcpProxy } from "#test/kit/tcp-proxy.ts";

export interface Surroundings {
  /** Processes of each node; with several, single ones are killed and stopped too. */
  readonly workers: number;
  readonly nodes: readonly Node[];
  /** The ways of the nodes to the database, where there is one. */
  readonly lines: readonly TcpProxy[];
  /** Ends the database and starts it again. */
  restartDatabase?(random: SeededRandom): Promise<void>;
}

/** Between two faults of a lane, so that something is answered. */
const PAUSE_MILLIS = [100, 900] as const;
/** How long a node is stopped or its line is dead; some are longer than the tests' nodes wait for an answer. */
const OUTAGE_MILLIS = [200, 1_500] as const;

type Fault = (surroundings: Surroundings, random: SeededRandom) => Promise<void>;
type Faults = Readonly<Record<string, Fault>>;

const kills: Faults = {
  "kill -9 of a node": async ({ nodes }, random) => killAndStart([random.pick(nodes)]),
  "kill -9 of all nodes": async ({ nodes }) => killAndStart(nodes),
};
/** All at once is one in so many. */
const KILLS_OF_ONE = 4;

async function killAndStart(nodes: readonly Node[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.kill9()));
  await Promise.all(nodes.map((node) => node.startAgain()));
}

const stops: Faults = {
  "stop of a node": async ({ nodes }, random) => {
    const goOn = random.pick(nodes).pause();
    await systemClock.sleep(random.integer(...OUTAGE_MILLIS));
    goOn();
  },
};

const ofWorkers: Faults = {
  "kill -9 of a worker": async (around, random) => void (await signalWorker(around, random, "SIGKILL")),
  "stop of a worker": async (around, random) => {
    const pid = await signalWorker(around, random, "SIGSTOP");
    await systemClock.sleep(random.integer(...OUTAGE_MILLIS));
    if (pid !== undefined) signal(pid, "SIGCONT");
  },
};

async function signalWorker(
  { nodes }: Surroundings,
  random: SeededRandom,
  name: "SIGKILL" | "SIGSTOP",
): Promise<number | undefined> {
  const node = random.pick(nodes);
  const pids = node.isRunning ? await node.workers() : [];
  if (pids.length === 0) return undefined;
  const pid = random.pick(pids);
  return signal(pid, name) ? pid : undefined;
}

/** False when it is gone. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

const ofLines: Faults = {
  "cut of connections": async ({ lines }, random) => {
    for (let i = random.integer(1, 4); i > 0; i--) {
      random.pick(lines).cut();
      await systemClock.sleep(random.integer(0, 40));
    }
  },
  "loss on a connection": async ({ lines }, random) => {
    const line = random.pick(lines);
    line.lose(random.pick(["answers", "answers", "requests", "both"]));
    await systemClock.sleep(random.integer(...OUTAGE_MILLIS));
    line.mend();
  },
};

const ofDatabase: Faults = {
  "restart of the database": async ({ restartDatabase }, random) => restartDatabase?.(random),
};

/** Lets faults happen until the signal aborts; gives how often each did. */
export async function runFaults(
  surroundings: Surroundings,
  seed: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const others = {
    ...(surroundings.workers > 1 ? ofWorkers : stops),
    ...(surroundings.lines.length > 0 && ofLines),
    ...(surroundings.restartDatabase && ofDatabase),
  };
  const [one, all] = Object.entries(kills);
  const lanes = [Array.from({ length: KILLS_OF_ONE }, () => one).concat([all]), Object.entries(others)];
  const counts = new Map<string, number>();
  await Promise.all(
    lanes.map(async (faults, lane) => {
      const random = new SeededRandom(seed + lane);
      while (!signal.aborted) {
        await systemClock.sleep(random.integer(...PAUSE_MILLIS), signal);
        const [name, fault] = random.pick(faults) ?? [];
        if (signal.aborted || name === undefined || fault === undefined) break;
        await fault(surroundings, random);
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }
    }),
  );
  return counts;
}
