// Runs an import: kind after kind, several items of a kind at once, each planned and then written unless it is a dry
// run. A failure of one item is told and holds up no other.
import { ApiError } from "#client/api-error.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Ends, ImportItem, ImportKind, Plan } from "./import-item.ts";
import type { Selection } from "./selection.ts";

export type ItemOutcome = "created" | "updated" | "unchanged" | "skipped" | "failed";

export interface ItemReport {
  readonly kind: string;
  readonly path: string;
  readonly outcome: ItemOutcome;
  /** Why it was skipped or failed; what did not come along. */
  readonly notes: readonly string[];
}

export interface ImportRun {
  readonly ends: Ends;
  readonly kinds: readonly ImportKind[];
  readonly selection: Selection;
  readonly isDryRun: boolean;
  /** Items at once. */
  readonly parallel: number;
  readonly signal: AbortSignal;
  readonly onItem: (report: ItemReport) => void;
}

const ATTEMPTS_MAX = 5;
const PAUSE_MILLIS = 250;

/** Throws `unavailable` when it was stopped; what is done by then stays, and another run goes on. */
export async function runImport(run: ImportRun): Promise<void> {
  for (const kind of run.kinds) {
    if (!run.selection.takesKind(kind.name)) continue;
    const items = kind.items(run.ends);
    try {
      await Promise.all(Array.from({ length: run.parallel }, () => work(run, kind, items)));
    } catch (error) {
      assertGoingOn(run.signal);
      run.onItem({ kind: kind.name, path: "", outcome: "failed", notes: [`cannot be listed: ${messageOf(error)}`] });
    } finally {
      await items.return(undefined);
    }
  }
}

/** One of several workers. A generator answers `next` in the order of the calls, so they share it. */
async function work(run: ImportRun, kind: ImportKind, items: AsyncGenerator<ImportItem>): Promise<void> {
  for (;;) {
    assertGoingOn(run.signal);
    const { done, value: item } = await items.next();
    if (done === true) return;
    if (run.selection.takes(kind.name, item.path)) run.onItem(await importItem(run, kind.name, item));
  }
}

async function importItem(run: ImportRun, kind: string, item: ImportItem): Promise<ItemReport> {
  const { path } = item;
  try {
    const plan = await repeated(run, () => item.plan());
    if (plan.action !== "unchanged" && plan.action !== "skip" && !run.isDryRun) await repeated(run, plan.apply);
    return { kind, path, ...outcomeOf(plan) };
  } catch (error) {
    assertGoingOn(run.signal);
    return { kind, path, outcome: "failed", notes: [messageOf(error)] };
  }
}

function outcomeOf(plan: Plan): Pick<ItemReport, "outcome" | "notes"> {
  if (plan.action === "unchanged") return { outcome: "unchanged", notes: [] };
  if (plan.action === "skip") return { outcome: "skipped", notes: [plan.reason] };
  return { outcome: plan.action === "create" ? "created" : "updated", notes: plan.losses ?? [] };
}

/** Servers are busy, restart or lose their leader; every step may be done again. */
async function repeated<T>({ ends, signal }: ImportRun, step: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (attempt >= ATTEMPTS_MAX || !(error instanceof ApiError && error.retryable)) throw error;
      await ends.clock.sleep(PAUSE_MILLIS * 2 ** (attempt - 1), signal);
    }
  }
}

function assertGoingOn(signal: AbortSignal): void {
  if (signal.aborted) throw new CofferError("unavailable", "stopped; run it again to go on");
}
