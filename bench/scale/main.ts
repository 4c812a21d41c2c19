// `npm run bench:scale`: what a large store costs: start to unsealed, memory, latency of reads and logins, beside an
// almost empty store in the same run, and how reads do while a great many leases end at once. Every record is made by
// the API (large-store.ts), which takes some minutes for a million secrets.
//   -secrets=1000000 -tokens=100000 -mounts=10000 -namespaces=1000   what the large store holds
//   -due=100000      tokens whose leases all are due at the start of a third store
//   -seconds=3       of each measurement      -write   keeps the figures in docs/performance/scale.json
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { FOLDER_SIZE, makeLargeStore, type StoreSize } from "./large-store.ts";
import { type Comparison, compareStores, type Expiry, expireAtOnce } from "./measurements.ts";
import { comparisonTable, expiryTable } from "./tables.ts";

const DAY_MILLIS = 24 * 3600 * 1000;
const numbers = { secrets: 1_000_000, tokens: 100_000, mounts: 10_000, namespaces: 1_000, due: 100_000, seconds: 3 };
type Name = keyof typeof numbers;

const options = parseArguments(process.argv.slice(2));
await using ends = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), "coffer-scale-"));
ends.defer(() => rm(folder, { recursive: true, force: true }));
const key = randomBytes(32);
const rootToken = `root-${randomBytes(8).toString("hex")}`;
const small: StoreSize = { secrets: FOLDER_SIZE, tokens: 0, mounts: 0, namespaces: 0 };
const { secrets, tokens, mounts, namespaces, due, seconds } = options.numbers;

const empty = await make("empty", small, 0);
const large = await make("large", { secrets, tokens, mounts, namespaces }, 0);
const comparison = await compareStores({ empty, large, secrets: { empty: small.secrets, large: secrets }, seconds });
console.log(comparisonTable(comparison));
const expiring = await make("expiring", { ...small, tokens: due }, DAY_MILLIS);
const expiry = await expireAtOnce(expiring, small.secrets, due);
console.log(expiryTable(expiry));
if (options.write) await keep(comparison, expiry);

async function make(name: string, size: StoreSize, agoMillis: number) {
  const place = join(folder, name);
  const startedAt = performance.now();
  await makeLargeStore({
    ...{ folder: place, key, rootToken, size, agoMillis, tokenTtlSeconds: DAY_MILLIS / 1000 },
    progress: (line) => console.error(`${name}: ${line}`),
  });
  console.error(`${name}: made in ${Math.round((performance.now() - startedAt) / 1000)} s`);
  return { folder: place, key, rootToken };
}

function parseArguments(argv: readonly string[]) {
  const given: Record<Name, number> = { ...numbers };
  let write = false;
  for (const word of argv) {
    const [, name, value] = /^--?([a-z]+)=(\d+(?:\.\d+)?)$/.exec(word) ?? [];
    if (name !== undefined && isName(name)) given[name] = Number(value);
    else if (/^--?write$/.test(word)) write = true;
    else throw new Error(`unknown argument ${word}; there are -${Object.keys(numbers).join("=N -")}=N and -write`);
  }
  return { numbers: given, write };
}

function isName(text: string): text is Name {
  return text in numbers;
}

async function keep(compared: Comparison, expired: Expiry): Promise<void> {
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? "", cores: availableParallelism() };
  const file = join(import.meta.dirname, "../../docs/performance/scale.json");
  await mkdir(join(file, ".."), { recursive: true });
  const document = { machine, holds: options.numbers, comparison: compared, expiry: expired };
  await writeFile(file, `${JSON.stringify(document, null, 2)}\n`);
}
