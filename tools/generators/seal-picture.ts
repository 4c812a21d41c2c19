// The picture of docs/guides/seals.md: the states of a server, and how one seal takes another's place. Boxes and arrows
// are tables here; everything else follows from them.
import type { Generator } from "./generator.ts";

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly look: "box" | "own" | "safe" | "app";
  /** The first is the name, the others are small. */
  readonly lines: readonly string[];
}

const LINE_HEIGHT = 17;
const BOX_PADDING = 14;
const HEIGHT = 470;
const WIDTH = 960;

const STATE_ROW = 64;
const STEP_ROW = 270;

const BOXES: readonly Box[] = [
  { x: 30, y: STATE_ROW, width: 200, look: "box", lines: ["uninitialised", "no root key yet"] },
  { x: 380, y: STATE_ROW, width: 200, look: "app", lines: ["sealed", "seal_troubles says", "what each seal answers"] },
  { x: 730, y: STATE_ROW, width: 200, look: "safe", lines: ["unsealed", "needs no seal", "until it starts again"] },
  { x: 30, y: STEP_ROW, width: 200, look: "box", lines: ["old seal alone", "it wraps the root key"] },
  {
    ...{ x: 265, y: STEP_ROW, width: 200, look: "own" },
    lines: ["1. add", "new stanza, reload:", "probed, wraps, its copy", "opened again; then it counts"],
  },
  {
    ...{ x: 500, y: STEP_ROW, width: 200, look: "own" },
    lines: ["2. verify", "fully_wrapped: true", "operator drill: each", "seal alone opens all"],
  },
  {
    ...{ x: 735, y: STEP_ROW, width: 195, look: "safe" },
    lines: ["3. remove", "disable or take away:", "forgotten once another is", "proved to open the store"],
  },
];

interface Arrow {
  readonly path: string;
  readonly text: string;
  readonly at: readonly [x: number, y: number];
}

const ARROWS: readonly Arrow[] = [
  { path: "M230 88H378", text: "init, bootstrap", at: [304, 80] },
  { path: "M580 84H728", text: "any one seal, or shares", at: [654, 76] },
  { path: "M728 108H582", text: "seal, start again", at: [654, 126] },
  { path: "M440 129V168H520V131", text: "a seal away: tried again for as long as it takes", at: [480, 188] },
  { path: "M800 129V168H860V131", text: "a failed probe changes nothing", at: [830, 188] },
  { path: "M230 300H263", text: "", at: [0, 0] },
  { path: "M465 300H498", text: "", at: [0, 0] },
  { path: "M700 300H733", text: "", at: [0, 0] },
  {
    path: "M830 352V394H130V320",
    text: "refused, and nothing is changed: whatever would leave no seal to open the store",
    at: [480, 412],
  },
];

const STYLE = `
    .ground { fill: #ffffff }
    .box { fill: #ffffff; stroke: #57637a }
    .own { fill: #e3eefc; stroke: #2563a8 }
    .safe { fill: #e4f4ea; stroke: #2b7a4b }
    .app { fill: #fdf1dc; stroke: #9a6700 }
    text { fill: #1b2330; font-size: 14px }
    .name { font-weight: 600; font-size: 15px }
    .small { font-size: 12px; fill: #4a5568 }
    .line { fill: none; stroke: #57637a; stroke-width: 1.6 }
    .head { fill: #57637a }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117 }
      .box { fill: #21262d; stroke: #8b98ad }
      .own { fill: #12294a; stroke: #6aa7ee }
      .safe { fill: #10301f; stroke: #5fc08a }
      .app { fill: #3a2a0a; stroke: #e0ac4a }
      text { fill: #e6edf3 }
      .small { fill: #a9b4c4 }
      .line { stroke: #8b98ad }
      .head { fill: #8b98ad }
    }`;

const DESCRIPTION =
  "A server is uninitialised, sealed or unsealed. Any one seal or enough shares unseal it; a seal that is away is tried " +
  "again; a probe that fails changes nothing. A seal takes another's place in three steps: add, verify, remove. What " +
  "would leave no seal is refused.";

function drawBox({ x, y, width, look, lines }: Box): string {
  const height = lines.length * LINE_HEIGHT + BOX_PADDING;
  const middle = x + width / 2;
  const texts = lines.map((line, i) => {
    const place = `x="${middle}" y="${y + 22 + i * LINE_HEIGHT}" text-anchor="middle"`;
    return `  <text ${place} class="${i === 0 ? "name" : "small"}">${line}</text>`;
  });
  return [`  <rect class="${look}" x="${x}" y="${y}" width="${width}" height="${height}" rx="8"/>`, ...texts].join(
    "\n",
  );
}

function drawArrow({ path, text, at: [x, y] }: Arrow): string {
  const line = `  <path class="line" d="${path}" marker-end="url(#head)"/>`;
  return text === "" ? line : `${line}\n  <text class="small" x="${x}" y="${y}" text-anchor="middle">${text}</text>`;
}

function picture(): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="title desc" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif">
  <title id="title">States of a server, and a change of seals</title>
  <desc id="desc">${DESCRIPTION}</desc>
  <style>${STYLE}
  </style>
  <defs>
    <marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker>
  </defs>
  <rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>
  <text class="name" x="30" y="40">A server</text>
  <text class="name" x="30" y="246">One seal in another's place, on a running server</text>
${[...BOXES.map(drawBox), ...ARROWS.map(drawArrow)].join("\n")}
  <text class="small" x="30" y="452">Generated by tools/generators/seal-picture.ts.</text>
</svg>
`;
}

export const sealPictureGenerator: Generator = {
  name: "seal-picture",
  files: () => new Map([["docs/pictures/seals.svg", picture()]]),
};
