// One run: nodes, clients, faults, and the check of what was recorded. Prints its seed, its figures and, when something
// is wrong, where the whole history was written to.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type CheckedHistory, checkHistory } from "#test/kit/linearizability/check.ts";
import { register } from "#test/kit/linearizability/register.ts";
import { startNodes } from "#test/kit/node-group.ts";
import { chosenSeed, SeededRandom } from "#test/kit/seeded-random.ts";
import { Clients, type Recording, type Step } from "./clients.ts";
import { runFaults, type Surroundings } from "./faults.ts";

export interface Run {
  readonly storage: string;
  /** Of each node, which may reach the database by a line of its own. */
  readonly stanzas: readonly JsonObject[];
  readonly lines?: Surroundings["lines"];
  /** Processes of each node, 1 by default. */
  readonly workers?: number;
  readonly restartDatabase?: NonNullable<Surroundings["restartDatabase"]>;
  readonly seconds: number;
}

const CLIENTS = 8;
/** A run in which less than this was answered proves nothing. */
const ANSWERS_MIN = 200;

/** Fails when the history is not linearizable, or a server gave an answer that it never may. */
export async function runLinearizability({
  storage,
  stanzas,
  lines,
  workers = 1,
  restartDatabase,
  seconds,
}: Run): Promise<void> {
  const seed = chosenSeed();
  console.log(`${storage}: COFFER_SEED=${seed}`);
  const group = await startNodes(stanzas, workers);
  try {
    const clients = new Clients(group.nodes, new SeededRandom(seed));
    const over = new AbortController();
    const work = clients.work(CLIENTS, over.signal);
    const end = AbortSignal.any([AbortSignal.timeout(seconds * 1_000), over.signal]);
    const around = { nodes: group.nodes, workers, lines: lines ?? [], ...(restartDatabase && { restartDatabase }) };
    const faults = await runFaults(around, seed, end).finally(() => over.abort());
    await work;
    await untilAllAnswer(clients);
    const checked = checkHistory(clients.recording.history, register);
    report(storage, clients.recording, checked, faults);
    await assertRight(clients.recording, checked);
    assertTampered(clients.recording.history);
  } catch (error) {
    const outputs = group.nodes.map((node) => `${node.name}:\n${node.output().slice(-4_000)}`);
    throw new Error([messageOf(error), ...outputs].join("\n"), { cause: error });
  } finally {
    await group.stop();
  }
}

/** After the last fault everybody recovers; then each node shows every key. */
async function untilAllAnswer(clients: Clients): Promise<void> {
  const settled = new AbortController();
  void systemClock.sleep(2_000).then(() => settled.abort());
  await clients.work(2, settled.signal);
  await clients.readAll();
}

function report(
  storage: string,
  { failures, wrong }: Recording,
  { operations, unknown, violations }: CheckedHistory,
  faults: ReadonlyMap<string, number>,
): void {
  const list = (counts: ReadonlyMap<string, number>) => [...counts].map(([name, count]) => `${count} ${name}`);
  const found = `${violations.length} violations, ${wrong.length} wrong answers`;
  console.log(
    `${storage}: ${operations} operations (${unknown} of unknown outcome), ${found}; ${list(faults).join(", ")}`,
  );
  console.log(["failures told to clients:", ...list(failures)].join("\n  "));
}

async function assertRight(
  { history, wrong, refused }: Recording,
  { violations, operations, unknown }: CheckedHistory,
) {
  const problems = [...wrong.slice(0, 5), ...violations];
  if (problems.length > 0) {
    const file = join(await mkdtemp(join(tmpdir(), "coffer-history-")), "history.jsonl");
    await writeFile(file, [...history, ...refused].map((step) => `${JSON.stringify(step)}\n`).join(""));
    throw new Error(`${problems.join("\n")}\nthe whole history is in ${file}`);
  }
  expect(operations - unknown).toBeGreaterThan(ANSWERS_MIN);
}

/** The same history with two answers exchanged is refused: what was recorded is dense enough to tell. */
function assertTampered(history: readonly Step[]): void {
  const begun = new Map(
    history.flatMap(({ input, begin }) => ("value" in input ? [[input.value, begin] as const] : [])),
  );
  const reads = history.flatMap((step) => {
    const value = step.input.op === "read" ? /"(.*)"$/.exec(step.output ?? "")?.[1] : undefined;
    return value === undefined ? [] : [{ step, written: begun.get(value) ?? 0 }];
  });
  const first = reads[0]?.step;
  // What it saw was not written yet when the first one was answered.
  const other = reads.find(({ step, written }) => first?.key === step.key && written > first.end)?.step;
  expect(other).toBeDefined();
  const exchanged = history
    .filter(({ key }) => key === first?.key)
    .map((step) => {
      if (step === first) return { ...step, output: other?.output };
      return step === other ? { ...step, output: first?.output } : step;
    });
  expect(checkHistory(exchanged, register).violations).toHaveLength(1);
}
