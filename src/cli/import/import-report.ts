// What an import did, in numbers for each kind and with a line for everything that was skipped, failed or came along in
// part. Lines are told as they come, so that a large import needs no memory for them. Never sees a value.
import type { JsonObject } from "#common/json.ts";
import { type Row, table } from "../table.ts";
import type { ItemOutcome, ItemReport } from "./run-import.ts";

/** Lines kept for a report in JSON or YAML; the numbers count all of them. */
const LINES_MAX = 10_000;
const OUTCOMES: readonly ItemOutcome[] = ["created", "updated", "unchanged", "skipped", "failed"];

export class ImportReport {
  readonly #counts = new Map<string, Record<ItemOutcome, number>>();
  readonly #lines: JsonObject[] = [];
  readonly #tell: (line: string) => void;
  readonly #isDryRun: boolean;
  #items = 0;

  /** `tell` is given a line for people whenever there is something to say. */
  constructor(isDryRun: boolean, tell: (line: string) => void) {
    this.#isDryRun = isDryRun;
    this.#tell = tell;
  }

  get items(): number {
    return this.#items;
  }

  get failed(): number {
    return [...this.#counts.values()].reduce((sum, { failed }) => sum + failed, 0);
  }

  add({ kind, path, outcome, notes }: ItemReport): void {
    this.#items++;
    const counts = this.#counts.get(kind) ?? { created: 0, updated: 0, unchanged: 0, skipped: 0, failed: 0 };
    counts[outcome]++;
    this.#counts.set(kind, counts);
    const isPlan = this.#isDryRun && (outcome === "created" || outcome === "updated");
    if (notes.length === 0 && !isPlan) return;
    if (this.#lines.length < LINES_MAX) this.#lines.push({ kind, path, outcome, notes });
    const words = isPlan ? (outcome === "created" ? "would create" : "would update") : outcome;
    this.#tell(`${words} ${kind}:${path}${notes.length === 0 ? "" : `: ${notes.join("; ")}`}\n`);
  }

  toJson(): JsonObject {
    const kinds = Object.fromEntries([...this.#counts].map(([kind, counts]) => [kind, { ...counts }]));
    return { dry_run: this.#isDryRun, kinds, items: this.#lines };
  }

  toTable(): string {
    const rows = [...this.#counts].map(
      ([kind, counts]): Row => [kind, ...OUTCOMES.map((name) => String(counts[name]))],
    );
    const heads = this.#isDryRun ? ["would create", "would update", ...OUTCOMES.slice(2)] : OUTCOMES;
    return `\n${table(["Kind", ...heads.map((head) => head[0]?.toUpperCase() + head.slice(1))], rows)}`;
  }
}
