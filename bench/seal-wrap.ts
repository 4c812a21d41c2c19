// What the seal's layer costs: reads of one KV secret on a mount with seal_wrap against one without, through the whole
// server but HTTP, in one process, in turns. CPU time of this process for each read, the ratio, and how often the seal
// was asked. `npm run bench:seal-wrap -- -reads=20000 -rounds=5`; figures in docs/adr/0023-seal-wrap.md.
import { parseArgs } from "node:util";
import { FakeClock } from "#common/clock.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { AutoSeal } from "#server/seal/seal.ts";
import { createStaticSeal } from "#server/seal/static/static-seal.ts";
import { LOOK_MILLIS } from "#server/seal-wrap/seal-wrap.ts";
import { startInProcessServer } from "#test/kit/in-process-server.ts";

const { values } = parseArgs({
  options: {
    reads: { type: "string", default: "20000" },
    rounds: { type: "string", default: "5" },
    bytes: { type: "string", default: "100" },
  },
});
const [reads, rounds, bytes] = [Number(values.reads), Number(values.rounds), Number(values.bytes)];

const inner = createStaticSeal("bench", [{ id: "1", key: SecretBytes.random(32) }], { clock: new FakeClock() });
if (inner.kind !== "auto") throw new Error("the static seal opens by itself");
let calls = 0;
const seal: AutoSeal = {
  ...inner,
  unwrap: (copy, purpose) => {
    calls++;
    return inner.unwrap(copy, purpose);
  },
};

const server = await startInProcessServer({ seals: [seal] });
await server.clock.advance(LOOK_MILLIS);
while (await server.server.sealWrap.round());
for (const seal_wrap of [false, true]) {
  const mount = seal_wrap ? "wrapped" : "plain";
  await server.call("create", `sys/mounts/${mount}`, { type: "kv", options: { version: "2" }, seal_wrap });
  await server.call("create", `${mount}/data/a`, { data: { value: "x".repeat(bytes) } });
}

/** Microseconds of CPU for each read. */
async function measure(mount: string): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < reads; i++) await server.call("read", `${mount}/data/a`);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / reads;
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;
await measure("plain");
await measure("wrapped");
const callsBefore = calls;
const found: Record<string, number[]> = { plain: [], wrapped: [] };
for (let round = 0; round < rounds; round++)
  for (const mount of ["plain", "wrapped"]) found[mount]?.push(await measure(mount));
const [plain, wrapped] = [median(found["plain"] ?? []), median(found["wrapped"] ?? [])];
const perThousand = ((calls - callsBefore) / (reads * rounds)) * 1_000;
console.log(`CPU for a read, microseconds: plain ${plain.toFixed(1)}, wrapped ${wrapped.toFixed(1)}`);
console.log(`ratio ${(wrapped / plain).toFixed(3)}; calls of the seal for 1,000 reads ${perThousand.toFixed(3)}`);
