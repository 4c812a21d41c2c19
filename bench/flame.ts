// `node bench/flame.ts FILE.cpuprofile > FILE.svg`: the server's time as a flame picture: each bar is a function, as wide
// as the time in it and in what it called, its callers below it. What was idle and what belongs to the start (loading
// modules) is left out. A bar's title tells its name, place and share.
import { readFile } from "node:fs/promises";
import { type Profile, parseProfile } from "./cpu-profile.ts";

const WIDTH = 1_200;
const ROW = 17;
const MARGIN = 10;
/** Narrower bars are not drawn, narrower labels not written. */
const BAR_WIDTH_MIN = 0.5;
const LABEL_WIDTH_MIN = 34;
const CHARACTER_WIDTH = 6.3;
const DEPTH_MAX = 40;
const OWN = "#f59e0b";
const PACKAGE = "#84cc16";
const RUNTIME = "#cbd5e1";

interface Frame {
  readonly name: string;
  readonly colour: string;
  micros: number;
  readonly callees: Map<string, Frame>;
}

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: node bench/flame.ts FILE.cpuprofile");
const root = treeOf(parseProfile(await readFile(file, "utf8"), file));
console.log(draw(root));

function treeOf({ stacks }: Profile): Frame {
  const root: Frame = { name: "all", colour: RUNTIME, micros: 0, callees: new Map() };
  for (const { frames, micros } of stacks) {
    let at = root;
    at.micros += micros;
    for (const { name, url } of frames.toReversed().slice(1, DEPTH_MAX)) {
      const callee = at.callees.get(name) ?? { name, colour: colourOf(url), micros: 0, callees: new Map() };
      at.callees.set(name, callee);
      callee.micros += micros;
      at = callee;
    }
  }
  return root;
}

function colourOf(url: string): string {
  if (url.includes("/node_modules/")) return PACKAGE;
  return url.includes("/src/") ? OWN : RUNTIME;
}

function draw(root: Frame): string {
  const bars: string[] = [];
  const perMicro = (WIDTH - 2 * MARGIN) / root.micros;
  let depthMost = 0;
  const place = (frame: Frame, x: number, depth: number) => {
    const width = frame.micros * perMicro;
    if (width < BAR_WIDTH_MIN) return;
    depthMost = Math.max(depthMost, depth);
    bars.push(bar(frame, { x, depth, width, share: frame.micros / root.micros }));
    let at = x;
    for (const callee of [...frame.callees.values()].sort((a, b) => b.micros - a.micros)) {
      place(callee, at, depth + 1);
      at += callee.micros * perMicro;
    }
  };
  place(root, MARGIN, 0);
  const height = (depthMost + 1) * ROW + 2 * MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">`,
    "<title>Where the server's processor time went</title>",
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    // The first row stands at the bottom, as flames do.
    `<g transform="translate(0 ${height - MARGIN - ROW})">`,
    ...bars,
    "</g>",
    "</svg>",
  ].join("\n");
}

function bar(
  { name, colour }: Frame,
  { x, depth, width, share }: { x: number; depth: number; width: number; share: number },
): string {
  const y = -depth * ROW;
  const title = `<title>${escaped(name)}: ${(100 * share).toFixed(1)} %</title>`;
  const shape = `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colour}"/>`;
  const label = escaped(name.slice(0, Math.floor(width / CHARACTER_WIDTH)));
  const text = width < LABEL_WIDTH_MIN ? "" : `<text x="${(x + 2).toFixed(1)}" y="${y + 12}">${label}</text>`;
  return `<g>${title}${shape}${text}</g>`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
