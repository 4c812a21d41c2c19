// A client that reads and writes without a pause, as a pod beside the servers. Each writer counts upwards in a secret of
// its own; each reader looks whether what it finds is at least what was acknowledged before it asked. Prints what it has
// seen as one line of JSON each half second.
//   node main.js -address=https://main.coffer-system.svc:8200 -ca=FILE -token=FILE -mount=coffer-operator -role=admin_…
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createApiClient } from "#client/api-client.ts";
import { loginWithKubernetes } from "#client/kubernetes-login.ts";
import { createKv } from "#client/kv.ts";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";

/** What is printed. Failures are of calls after all attempts of the client, which are three for reads. */
export interface LoadReport {
  readonly reads: number;
  readonly writes: number;
  readonly failedReads: number;
  readonly failedWrites: number;
  /** Reads that found less than had been acknowledged. */
  readonly lost: number;
  readonly slowestMillis: number;
  /** What was there before the first write; 0 when nothing was. */
  readonly found: number;
  /** Of the last failures, with the seconds since the start. */
  readonly errors: readonly string[];
}

const WRITERS = 4;
const READERS = 4;
/** Between two calls of one of them: some hundred calls a second all together. */
const PAUSE_MILLIS = 20;
const REPORT_MILLIS = 500;
const ERRORS_KEPT = 8;
/** For one attempt. */
const TIMEOUT_MILLIS = 15_000;

const { values } = parseArgs({
  args: process.argv.slice(2).map((arg) => arg.replace(/^-(?=[a-z])/, "--")),
  options: {
    address: { type: "string", default: "" },
    ca: { type: "string", default: "" },
    token: { type: "string", default: "" },
    mount: { type: "string", default: "" },
    role: { type: "string", default: "" },
  },
});
process.once("SIGTERM", () => process.exit(0));

const client = createApiClient({
  ...{ address: values.address, ca: readFileSync(values.ca, "utf8"), userAgent: "coffer-load" },
  ...{ timeoutMillis: TIMEOUT_MILLIS, clock: systemClock },
});
const login = { mount: values.mount, role: values.role, tokenFile: values.token };
const { client_token: token } = await loginWithKubernetes(client, login);
const kv = createKv(client.with({ token }));

const acknowledged = new Array<number>(WRITERS).fill(0);
const counts = { reads: 0, writes: 0, failedReads: 0, failedWrites: 0, lost: 0, slowestMillis: 0 };
const errors: string[] = [];
const pathOf = (writer: number) => `secret/load/${writer}`;

async function timed(kind: "Reads" | "Writes", work: () => Promise<void>): Promise<void> {
  const begin = performance.now();
  try {
    await work();
    counts[kind === "Reads" ? "reads" : "writes"]++;
  } catch (error) {
    counts[`failed${kind}`]++;
    errors.push(`${(performance.now() / 1000).toFixed(1)} s ${kind}: ${messageOf(error)}`);
  }
  counts.slowestMillis = Math.max(counts.slowestMillis, Math.round(performance.now() - begin));
  await sleep(PAUSE_MILLIS);
}

async function write(writer: number): Promise<never> {
  for (let count = 1; ; count++) {
    await timed("Writes", async () => {
      await kv.write(pathOf(writer), { count });
      acknowledged[writer] = count;
    });
  }
}

async function read(reader: number): Promise<never> {
  for (let turn = reader; ; turn++) {
    const writer = turn % WRITERS;
    await timed("Reads", async () => {
      const least = acknowledged[writer] ?? 0;
      const { data } = await kv.read(pathOf(writer));
      if (Number(data["count"]) < least) counts.lost++;
    });
  }
}

const found = await kv.read(pathOf(0)).then(
  ({ data }) => Number(data["count"]),
  () => 0,
);
for (let writer = 0; writer < WRITERS; writer++) await kv.write(pathOf(writer), { count: 0 });
const report = (): LoadReport => ({ ...counts, found, errors: errors.slice(-ERRORS_KEPT) });
setInterval(() => process.stdout.write(`${JSON.stringify(report())}\n`), REPORT_MILLIS);
const work = [
  ...Array.from({ length: WRITERS }, (_, i) => write(i)),
  ...Array.from({ length: READERS }, (_, i) => read(i)),
];
await Promise.all(work);
