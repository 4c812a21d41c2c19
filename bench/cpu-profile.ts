// A .cpuprofile of Node as stacks with their times, without what was idle and what belongs to the start (loading modules).
import { type Infer, list, number, object, optional, string } from "#common/schema.ts";

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
type CallFrame = Infer<typeof profileSchema>["nodes"][number]["callFrame"];

export interface ProfileFrame {
  /** The function and where it is. */
  readonly name: string;
  readonly url: string;
}

export interface Profile {
  /** One for each sample, from the function that ran outwards. */
  readonly stacks: readonly { readonly frames: readonly ProfileFrame[]; readonly micros: number }[];
}

/** Throws when the text is no profile; `source` names it. */
export function parseProfile(text: string, source: string): Profile {
  const { nodes, samples, timeDeltas } = profileSchema.parse(JSON.parse(text), source);
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, { name: nameOf(callFrame), url: callFrame.url }]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const stacks = samples.map((id, i) => ({ frames: stackOf(id, frames, parents), micros: timeDeltas[i] ?? 0 }));
  return { stacks: stacks.filter(({ frames: [first, ...rest] }) => first?.name !== "(idle)" && !isStart(rest)) };
}

function isStart(frames: readonly ProfileFrame[]): boolean {
  return frames.some(({ name }) => name.includes("modules/esm"));
}

function stackOf(
  id: number,
  frames: ReadonlyMap<number, ProfileFrame>,
  parents: ReadonlyMap<number, number>,
): readonly ProfileFrame[] {
  const stack: ProfileFrame[] = [];
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
    const frame = frames.get(at);
    if (frame) stack.push(frame);
  }
  return stack;
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const place = url.replace(/^.*\/(?=src\/|node_modules\/)/, "");
  return `${functionName || "(anonymous)"}${place === "" ? "" : ` ${place}:${lineNumber + 1}`}`;
}
