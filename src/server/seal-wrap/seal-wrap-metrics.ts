// Metrics of the seal's layer, declared once. All nodes of a store see the same record; what is of a process is summed.
import type { Metrics } from "#common/metrics.ts";
import { isRunning } from "./rewrap-record.ts";
import type { SealWrap } from "./seal-wrap.ts";

export function declareSealWrapMetrics(metrics: Metrics, sealWrap: Pick<SealWrap, "calls" | "seen">): void {
  const calls = () => sealWrap.calls;
  metrics.gaugeOf(
    "coffer_sealwrap_key_calls",
    "Times since the start that seals were asked for a seal-wrap key.",
    calls,
  );
  const running = () => sealWrap.seen && (isRunning(sealWrap.seen) ? 1 : 0);
  metrics.gaugeOf("coffer_sealwrap_rewrap_running", "1 while entries are being brought to their form.", running, "max");
  const processed = () => sealWrap.seen?.processed;
  metrics.gaugeOf("coffer_sealwrap_rewrap_entries", "Entries that the last rewrap has looked at.", processed, "max");
  const failed = () => sealWrap.seen?.failed;
  metrics.gaugeOf("coffer_sealwrap_rewrap_failed", "Entries of it that could not be read.", failed, "max");
  const share = () => shareOf(sealWrap.seen);
  const help = "Share of the critical entries that are wrapped, at the last rewrap of everything; 0 to 1.";
  metrics.gaugeOf("coffer_sealwrap_coverage", help, share, "min");
}

function shareOf(seen: SealWrap["seen"]): number | undefined {
  if (!seen?.coverage) return undefined;
  const wrapped = Object.values(seen.coverage.generations).reduce((sum, count) => sum + count, 0);
  const critical = wrapped + seen.coverage.plain;
  return critical === 0 ? 1 : wrapped / critical;
}
