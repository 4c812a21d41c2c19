// The series of growth.ts as a picture (SVG): a panel each, the count on a logarithmic axis, the median and the 99th
// percentile of a read's latency and the server's memory on linear ones that begin at nothing, so that flat looks flat.
import type { Point, Series } from "./growth.ts";

const WIDTH = 760;
const PANEL = 150;
const TITLE = 30;
const LEFT = 60;
const RIGHT = 60;
const PLOT = 90;
const LATENCY = "#2563eb";
const MEMORY = "#d97706";

export function drawGrowth(all: readonly Series[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${TITLE + all.length * PANEL}" font-family="sans-serif" font-size="12">`,
    "<title>Latency of a KV read and memory of the server by size</title>",
    `<rect width="${WIDTH}" height="${TITLE + all.length * PANEL}" fill="#fff"/>`,
    text(LEFT, 18, "KV read: p50 (line) and p99 (dashes) in ms", LATENCY),
    text(WIDTH - RIGHT - 200, 18, "memory of the server's own in MiB", MEMORY),
    ...all.flatMap((series, i) => panel(series, TITLE + i * PANEL)),
    "</svg>\n",
  ].join("\n");
}

function panel({ name, points }: Series, top: number): readonly string[] {
  const counts = points.map(({ count }) => count);
  const latency = Math.max(...points.map(({ p99Millis }) => p99Millis));
  const memory = Math.max(...points.map(({ memoryMiB }) => memoryMiB));
  const bottom = top + 20 + PLOT;
  const x = logarithmic(counts);
  const line = (of: (point: Point) => number, most: number, style: string) => {
    const places = points.map(
      (point) => `${x(point.count).toFixed(1)},${(bottom - (of(point) / most) * PLOT).toFixed(1)}`,
    );
    return `<polyline points="${places.join(" ")}" fill="none" stroke-width="2" ${style}/>`;
  };
  return [
    text(LEFT, top + 12, name),
    `<path d="M${LEFT},${top + 20}V${bottom}H${WIDTH - RIGHT}V${top + 20}" fill="none" stroke="#999"/>`,
    text(8, top + 26, latency.toFixed(1), LATENCY),
    text(8, bottom, "0", LATENCY),
    text(WIDTH - RIGHT + 6, top + 26, String(Math.round(memory)), MEMORY),
    text(WIDTH - RIGHT + 6, bottom, "0", MEMORY),
    ...counts.map((count) => text(x(count) - 10, bottom + 14, count.toLocaleString("en"))),
    line((point) => point.memoryMiB, memory, `stroke="${MEMORY}"`),
    line((point) => point.p50Millis, latency, `stroke="${LATENCY}"`),
    line((point) => point.p99Millis, latency, `stroke="${LATENCY}" stroke-dasharray="4 3"`),
  ];
}

function logarithmic(values: readonly number[]): (value: number) => number {
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  return (value) => LEFT + 10 + ((Math.log(value) - low) / (high - low || 1)) * (WIDTH - LEFT - RIGHT - 50);
}

function text(x: number, y: number, words: string, colour = "#111"): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="${colour}">${words}</text>`;
}
