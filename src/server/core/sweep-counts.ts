// What the background of this process has done, for metrics and tests.
import type { Counter, Metrics } from "#common/metrics.ts";

export type SweepKind = "leases" | "jobs" | "journal";

export interface SweepMetrics {
  readonly conflicts: Counter<"work">;
  readonly undone: Counter;
  readonly undoFailures: Counter;
}

export class SweepCounts {
  /** Commits that met another node's. */
  readonly conflicts: Record<SweepKind, number> = { leases: 0, jobs: 0, journal: 0 };
  /** Of the journal, all namespaces, when it was last counted. */
  waiting = 0;
  stuck = 0;
  #metrics: SweepMetrics | undefined;

  noteConflict(work: SweepKind): void {
    this.conflicts[work]++;
    this.#metrics?.conflicts.add({ work });
  }

  noteUndone(outcome: "undone" | "failed"): void {
    (outcome === "undone" ? this.#metrics?.undone : this.#metrics?.undoFailures)?.add({});
  }

  /** Declares its metrics and counts by them from now on. */
  countBy(metrics: Metrics): void {
    this.#metrics = {
      conflicts: metrics.counter(
        "coffer_background_conflicts_total",
        "Commits of background work that met another node's.",
        ["work"],
      ),
      undone: metrics.counter("coffer_journal_undone_total", "Effects outside that were undone."),
      undoFailures: metrics.counter("coffer_journal_undo_failures_total", "Attempts to undo an effect that failed."),
    };
    const [waiting, stuck] = [() => this.waiting, () => this.stuck];
    metrics.gaugeOf(
      "coffer_journal_entries",
      "Entries of the journal that are under way or to be undone, at most 10,000; counted every minute.",
      waiting,
      "max",
    );
    metrics.gaugeOf(
      "coffer_journal_stuck_entries",
      "Entries of the journal that could not be undone and wait for an administrator; counted every minute.",
      stuck,
      "max",
    );
  }
}
