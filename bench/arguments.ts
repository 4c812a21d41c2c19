// The command line of `npm run bench`.
import { workloadNames } from "./workloads.ts";

export interface BenchOptions {
  /** Of each measurement. */
  readonly seconds: number;
  /** Clients at once, one measurement each. */
  readonly workers: readonly number[];
  readonly workloads: readonly string[];
  readonly storage: string;
  /** Worker processes of the server. */
  readonly processes: number;
  /** A server that runs already, of Coffer or of another maker; its root token is in BENCH_TOKEN. */
  readonly address: string | undefined;
  /** Of that server, for its processor time. */
  readonly pid: number | undefined;
  /** Keeps figures and picture in docs/performance. */
  readonly write: boolean;
}

export const USAGE = `npm run bench -- [-quick] [-seconds=5] [-workers=1,10,100] [-workloads=NAME,...] [-storage=lmdb|postgres]
  [-processes=1] [-address=URL [-pid=N]] [-write]
workloads: ${workloadNames.join(", ")}`;

const DEFAULTS: BenchOptions = {
  seconds: 5,
  workers: [1, 10, 100],
  workloads: workloadNames,
  storage: "lmdb",
  processes: 1,
  address: undefined,
  pid: undefined,
  write: false,
};
const QUICK: Partial<BenchOptions> = {
  seconds: 0.4,
  workers: [10],
  workloads: ["kv2-read", "kv2-write", "approle-batch"],
};

/** Throws with the usage for what it does not know. */
export function parseArguments(argv: readonly string[]): BenchOptions {
  return Object.assign({ ...DEFAULTS }, ...argv.map(parseWord));
}

function parseWord(word: string): Partial<BenchOptions> {
  const [, name = "", value] = /^--?([a-z]+)(?:=(.+))?$/.exec(word) ?? [];
  if (value === undefined) {
    if (name === "quick") return QUICK;
    if (name === "write") return { write: true };
    throw wrong(word);
  }
  if (name === "seconds") return { seconds: positive(word, value) };
  if (name === "processes") return { processes: positive(word, value) };
  if (name === "pid") return { pid: positive(word, value) };
  if (name === "workers") return { workers: value.split(",").map((each) => positive(word, each)) };
  if (name === "storage" && /^(lmdb|postgres)$/.test(value)) return { storage: value };
  if (name === "address") return { address: value.replace(/\/$/, "") };
  const wanted = value.split(",");
  if (name === "workloads" && wanted.every((each) => workloadNames.includes(each))) return { workloads: wanted };
  throw wrong(word);
}

function positive(word: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw wrong(word);
  return number;
}

function wrong(word: string): Error {
  return new Error(`cannot use ${word}\n${USAGE}`);
}
