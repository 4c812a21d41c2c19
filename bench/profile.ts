// `node bench/profile.ts FILE`: where the time of a .cpuprofile went, without what was idle and what belongs to the start
// (loading modules): shares of each function by itself, and with all that it called.
import { readFile } from "node:fs/promises";
import { type Infer, list, number, object, optional, string } from "#common/schema.ts";

const SHOWN = 40;
const profileSchema = object({
  nodes: list(
    object({
      id: number,
      callFrame: object({ functionName: string, url: string, lineNumber: number }),
      children: optional(list(number)),
    }),
  ),
  samples: list(number),
  timeDeltas: list(number),
});
type Profile = Infer<typeof profileSchema>;
type Frame = Profile["nodes"][number]["callFrame"];

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: node bench/profile.ts FILE.cpuprofile");
const { total, self, inclusive } = sharesOf(profileSchema.parse(JSON.parse(await readFile(file, "utf8")), file));
console.log(`by itself\n${table(self, total)}\n\nwith what it calls\n${table(inclusive, total)}`);

function sharesOf({ nodes, samples, timeDeltas }: Profile) {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const self = new Map<string, number>();
  const inclusive = new Map<string, number>();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const stack = stackOf(id, parents).map((each) => names.get(each) ?? "");
    if (stack[0] === "(idle)" || stack.some((name) => name.includes("modules/esm"))) continue;
    const micros = timeDeltas[i] ?? 0;
    total += micros;
    add(self, stack[0] ?? "", micros);
    for (const name of new Set(stack)) add(inclusive, name, micros);
  }
  return { total, self, inclusive };
}

/** From the function that ran outwards. */
function stackOf(id: number, parents: ReadonlyMap<number, number>): readonly number[] {
  const stack: number[] = [];
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) stack.push(at);
  return stack;
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  const place = url.replace(/^.*\/(?=src\/|node_modules\/)/, "");
  return `${functionName || "(anonymous)"}${place === "" ? "" : ` ${place}:${lineNumber + 1}`}`;
}

function add(shares: Map<string, number>, name: string, micros: number): void {
  shares.set(name, (shares.get(name) ?? 0) + micros);
}

function table(shares: ReadonlyMap<string, number>, total: number): string {
  const most = [...shares].sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  return most.map(([name, micros]) => `${((100 * micros) / total).toFixed(1).padStart(6)} %  ${name}`).join("\n");
}
