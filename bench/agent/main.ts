// `npm run bench:agent`: what an agent costs, alone and by the hundreds. Prints a line of JSON for each figure.
//   -refreshes=2000   -idle=60   -starts=9   -agents=500   -seconds=90   -only=memory,idle,start,restart,fleet
import { loadavg } from "node:os";
import { join } from "node:path";
import { measureFleet } from "./fleet.ts";
import { measureIdle, measureMemory, measureRestart, measureStart, SHAPES } from "./one-agent.ts";
import { bundled, startWorld } from "./world.ts";

const NUMBERS = { refreshes: 2_000, idle: 60, starts: 9, agents: 500, seconds: 90 };
const PARTS = ["memory", "idle", "start", "restart", "fleet"];
/** With intervals of that many seconds the figures of a phase mean something. */
const REFRESH_SECONDS = 30;

const { numbers, only } = parseArguments(process.argv.slice(2));
await using world = await startWorld(only.includes("fleet") ? numbers.agents : 1);
const programs = {
  coffer: await bundled("src/cli/main.ts", join(world.folder, "coffer")),
  hurried: await bundled("bench/agent/hurried-agent.ts", join(world.folder, "hurried")),
  many: await bundled("test/kit/many-agents.ts", join(world.folder, "many")),
};
if (only.includes("start")) tell("start", await measureStart(programs, world, numbers.starts));
if (only.includes("restart")) tell("restart", await measureRestart(programs, world));
if (only.includes("idle")) tell("idle", await measureIdle(programs, world, numbers.idle));
if (only.includes("memory")) {
  for (const shape of Object.keys(SHAPES)) {
    tell("memory", await measureMemory(programs, world, shape, numbers.refreshes));
  }
}
if (only.includes("fleet")) {
  const { agents, seconds } = numbers;
  for (const events of [true, false]) {
    const fleet = { agents, seconds, events, refreshSeconds: REFRESH_SECONDS };
    tell("fleet", await measureFleet(programs.many, world, fleet));
  }
}

function tell(what: string, figures: object): void {
  const load = Math.round((loadavg()[0] ?? 0) * 10) / 10;
  process.stdout.write(`${JSON.stringify({ what, load, ...figures })}\n`);
}

function parseArguments(argv: readonly string[]) {
  const given = { ...NUMBERS };
  let wanted: readonly string[] = PARTS;
  for (const word of argv) {
    const [, name = "", value = ""] = /^--?([a-z]+)=([a-z0-9,]+)$/.exec(word) ?? [];
    if (name === "only") wanted = value.split(",");
    else if (Object.hasOwn(given, name) && Number(value) > 0) Object.assign(given, { [name]: Number(value) });
    else
      throw new Error(`cannot use ${word}: -refreshes, -idle, -starts, -agents and -seconds are numbers, -only parts`);
  }
  const unknown = wanted.filter((part) => !PARTS.includes(part));
  if (unknown.length > 0) throw new Error(`there is no part ${unknown.join(", ")}: ${PARTS.join(", ")} are`);
  return { numbers: given, only: wanted };
}
