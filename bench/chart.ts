// The figures of a run as a picture (SVG): for each workload its requests a second as a part of the bare responder's,
// at the number of clients nearest to ten, and how latency grows with the number of clients.
import type { Row } from "./table.ts";

const WIDTH = 760;
const LABEL = 170;
const BAR = 16;
const GAP = 6;
const TOP = 40;
const PLOT_HEIGHT = 220;
const PLOT_BOTTOM = 50;
const TYPICAL_CLIENTS = 10;
const COLOURS = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"];
/** More lines than this cannot be told apart. */
const LINES_MAX = COLOURS.length;

export function drawChart(rows: readonly Row[], title: string): string {
  const compared = rows.filter(({ ofBare }) => ofBare !== undefined);
  const clients = [...new Set(compared.map(({ workers }) => workers))].sort((a, b) => a - b);
  const typical = clients.toSorted((a, b) => Math.abs(a - TYPICAL_CLIENTS) - Math.abs(b - TYPICAL_CLIENTS))[0] ?? 0;
  const at = compared.filter(({ workers }) => workers === typical);
  const barsBottom = TOP + at.length * (BAR + GAP);
  const height = barsBottom + TOP + PLOT_HEIGHT + PLOT_BOTTOM;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>What a server answers beside its limits: ${title}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(10, 20, `Requests a second, of the bare responder's, ${typical} clients (${title})`),
    ...at.map((row, i) => bar(row, TOP + i * (BAR + GAP))),
    text(10, barsBottom + 25, "Latency in ms by clients: line p50, dashes p99, both axes logarithmic"),
    ...latencies(compared, clients, barsBottom + TOP),
    "</svg>\n",
  ].join("\n");
}

function bar({ workload, ofBare = 0, requestsPerSecond }: Row, y: number): string {
  const width = Math.max(1, Math.min(1, ofBare) * (WIDTH - LABEL - 150));
  const label = `${(ofBare * 100).toFixed(0)} %, ${requestsPerSecond}/s`;
  const shape = `<rect x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" fill="${COLOURS[0]}"/>`;
  return text(10, y + 12, workload) + shape + text(LABEL + width + 6, y + 12, label);
}

function latencies(rows: readonly Row[], clients: readonly number[], top: number): readonly string[] {
  const names = [...new Set(rows.map(({ workload }) => workload))].slice(0, LINES_MAX);
  const values = rows.flatMap(({ p50Millis, p99Millis }) => [p50Millis, p99Millis]).filter((value) => value > 0);
  const x = scale(clients, LABEL, WIDTH - 180);
  const y = scale(values, top + PLOT_HEIGHT, top);
  const axis = clients.map((count) => text(x(count), top + PLOT_HEIGHT + 18, String(count)));
  const marks = [Math.min(...values), Math.max(...values)].map((value) => text(110, y(value) + 4, value.toFixed(2)));
  const lines = names.flatMap((name, i) => {
    const own = rows.filter(({ workload }) => workload === name);
    const colour = COLOURS[i] ?? "";
    const path = (of: (row: Row) => number) =>
      own.map((row) => `${x(row.workers).toFixed(1)},${y(of(row)).toFixed(1)}`).join(" ");
    return [
      `<polyline points="${path((row) => row.p50Millis)}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<polyline points="${path((row) => row.p99Millis)}" fill="none" stroke="${colour}" stroke-dasharray="4 3"/>`,
      text(WIDTH - 160, top + 12 + i * 16, name, colour),
    ];
  });
  return [...axis, ...marks, ...lines];
}

/** Logarithmic, from the least value to the greatest. */
function scale(values: readonly number[], from: number, to: number): (value: number) => number {
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const span = high - low || 1;
  return (value) => from + ((Math.log(Math.max(value, Number.MIN_VALUE)) - low) / span) * (to - from);
}

function text(x: number, y: number, words: string, colour = "#111"): string {
  const safe = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="${colour}">${safe}</text>`;
}
