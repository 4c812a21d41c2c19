// When workloads are restarted because the content of a Kubernetes Secret changed, and how. Only a changed content does
// it, never a first delivery, a renewal or a repair; several changes within the interval become one restart.
import { createHash } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import type { ResourceKind } from "#kube/kube-object.ts";
import { DAEMON_SET, DEPLOYMENT, STATEFUL_SET } from "#kube/resource-kinds.ts";
import { durationSeconds } from "../../../api/duration.ts";
import type { RestartWindow, SecretState, SecretTarget } from "../../../api/secret-delivery.ts";

const KINDS: Readonly<Record<string, ResourceKind>> = {
  Deployment: DEPLOYMENT,
  StatefulSet: STATEFUL_SET,
  DaemonSet: DAEMON_SET,
};
const DAY_MILLIS: Millis = 86_400_000;
const MINUTE_MILLIS: Millis = 60_000;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;
const NAME_HEX = 16;

export type Restart = NonNullable<SecretTarget["restart"]>;
export type RestartPlan =
  | { readonly kind: "none" }
  | { readonly kind: "now" }
  | { readonly kind: "later"; readonly inMillis: Millis; readonly why: "interval" | "window" };

/** Whether a restart is due for the content. Pure. */
export function planRestart(
  restart: Restart,
  state: Pick<SecretState, "contentMAC" | "restartedMAC" | "restartedAt">,
  now: Millis,
): RestartPlan {
  // Workloads that were there before the Secret was have waited for it, and those that come start with it.
  if (state.restartedMAC === undefined || state.restartedMAC === state.contentMAC) return { kind: "none" };
  const last = state.restartedAt === undefined ? Number.NEGATIVE_INFINITY : Date.parse(state.restartedAt);
  const interval = durationSeconds(restart.minInterval) * 1000;
  if (now - last < interval) return { kind: "later", inMillis: last + interval - now, why: "interval" };
  const wait = restart.window === undefined ? 0 : millisUntil(restart.window, now);
  return wait === 0 ? { kind: "now" } : { kind: "later", inMillis: wait, why: "window" };
}

/** How long it takes until the window is open; 0 while it is. */
export function millisUntil(window: RestartWindow, now: Millis): Millis {
  const midnight = Math.floor(now / DAY_MILLIS) * DAY_MILLIS;
  const start = minutesOf(window.start) * MINUTE_MILLIS;
  const end = minutesOf(window.end) * MINUTE_MILLIS;
  const length = end > start ? end - start : end + DAY_MILLIS - start;
  // Yesterday's window may reach into today; a week ahead every day has come.
  for (let day = -1; day <= 7; day++) {
    const opens = midnight + day * DAY_MILLIS + start;
    const name = DAYS[new Date(opens).getUTCDay()] ?? "Sun";
    if (window.days !== undefined && !window.days.includes(name)) continue;
    if (now < opens) return opens - now;
    if (now < opens + length) return 0;
  }
  return DAY_MILLIS;
}

function minutesOf(text: string): number {
  const [hours = "0", minutes = "0"] = text.split(":");
  return Number(hours) * 60 + Number(minutes);
}

/** Restarts the workloads; done twice for one content it is one restart. Gives a sentence for each that failed. */
export async function restartTargets(
  client: KubeClient,
  binding: { readonly namespace: string; readonly name: string },
  restart: Restart,
  contentMAC: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const hash = createHash("sha256").update(binding.name).digest("hex").slice(0, NAME_HEX);
  const annotations = { [`coffer.dev/secret-${hash}`]: contentMAC };
  const failures: string[] = [];
  for (const { kind, name } of restart.targets) {
    const at = KINDS[kind];
    if (at === undefined) continue;
    try {
      const patch = { spec: { template: { metadata: { annotations } } } };
      await client.mergePatch(at, { namespace: binding.namespace, name }, patch, { signal });
    } catch (error) {
      if (!isKubeError(error, "NotFound", "Forbidden", "Invalid")) throw error;
      failures.push(`${kind} ${name}: ${error.reason}`);
    }
  }
  return failures;
}
