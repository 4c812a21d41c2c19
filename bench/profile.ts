// `node bench/profile.ts FILE`: where the time of a .cpuprofile went: shares of each function by itself, and with all that
// it called. As a picture: flame.ts.
import { readFile } from "node:fs/promises";
import { type Profile, parseProfile } from "./cpu-profile.ts";

const SHOWN = 40;

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: node bench/profile.ts FILE.cpuprofile");
const { total, self, inclusive } = sharesOf(parseProfile(await readFile(file, "utf8"), file));
console.log(`by itself\n${table(self, total)}\n\nwith what it calls\n${table(inclusive, total)}`);

function sharesOf({ stacks }: Profile) {
  const self = new Map<string, number>();
  const inclusive = new Map<string, number>();
  let total = 0;
  for (const { frames, micros } of stacks) {
    total += micros;
    add(self, frames[0]?.name ?? "", micros);
    for (const name of new Set(frames.map((frame) => frame.name))) add(inclusive, name, micros);
  }
  return { total, self, inclusive };
}

function add(shares: Map<string, number>, name: string, micros: number): void {
  shares.set(name, (shares.get(name) ?? 0) + micros);
}

function table(shares: ReadonlyMap<string, number>, total: number): string {
  const most = [...shares].sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  return most.map(([name, micros]) => `${((100 * micros) / total).toFixed(1).padStart(6)} %  ${name}`).join("\n");
}
