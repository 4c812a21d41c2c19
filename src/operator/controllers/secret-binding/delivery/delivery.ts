// What became of the Kubernetes Secret of a binding, and what its conditions say of that. Pure.
import type { Millis } from "#common/clock.ts";
import type { Finding, Summary } from "#kube/conditions.ts";
import type { SecretState } from "../../../api/secret-delivery.ts";

export type RestartResult =
  | { readonly kind: "current" }
  | { readonly kind: "waiting"; readonly inMillis: Millis; readonly why: "interval" | "window" }
  | { readonly kind: "failed"; readonly failures: readonly string[] };

export type Delivery =
  | { readonly kind: "delivered"; readonly state: SecretState; readonly restart: RestartResult | undefined }
  /** A secret is not there yet; what was delivered before stays. */
  | { readonly kind: "waiting"; readonly message: string }
  /** Somebody has to change something. */
  | { readonly kind: "blocked"; readonly reason: string; readonly message: string };

/** Delivered and Restarted. */
export function deliveryFindings(delivery: Delivery): readonly Finding[] {
  if (delivery.kind === "waiting") return [finding("Delivered", "False", "SecretMissing", delivery.message)];
  if (delivery.kind === "blocked") return [finding("Delivered", "False", delivery.reason, delivery.message)];
  const delivered = finding("Delivered", "True", "Delivered", `the Secret ${delivery.state.name} is up to date`);
  return delivery.restart === undefined ? [delivered] : [delivered, restartFinding(delivery.restart)];
}

function restartFinding(restart: RestartResult): Finding {
  if (restart.kind === "current")
    return finding("Restarted", "True", "Restarted", "the workloads run with the Secret's content");
  if (restart.kind === "failed")
    return finding("Restarted", "False", "RestartFailed", `not restarted: ${restart.failures.join("; ")}`);
  const until = restart.why === "window" ? "restart.window opens" : "restart.minInterval is over";
  return finding("Restarted", "False", "RestartWaiting", `the content changed; the restart waits until ${until}`);
}

/** The summary of the binding when the delivery decides it: undefined when all is well with it. */
export function deliverySummary(delivery: Delivery): Summary | undefined {
  if (delivery.kind === "waiting") return { state: "failing", reason: "SecretMissing", message: delivery.message };
  if (delivery.kind === "blocked") return { state: "failing", reason: delivery.reason, message: delivery.message };
  return undefined;
}

function finding(type: string, status: Finding["status"], reason: string, message: string): Finding {
  return { type, status, reason, message };
}
