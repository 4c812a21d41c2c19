// What the SecretBindings that select a pod want done to it.
import type { AgentConfig } from "#common/agent-config.ts";
import { AUTH_MOUNT, roleName, tokenAudience } from "#common/binding-names.ts";
import { durationSeconds } from "#operator/api/duration.ts";
import type { SecretBinding } from "#operator/api/secret-binding.ts";
import { BINDINGS_ANNOTATION } from "./annotations.ts";
import { AGENT_ID, agentUser, usualAgent } from "./containers.ts";
import { deal } from "./deliveries.ts";
import type { Injection } from "./injection.ts";
import { type Match, match, type Surroundings, titleOf } from "./match.ts";
import { CA_FILE, READY_FILE, TOKEN_FILE } from "./paths.ts";
import type { Pod } from "./pod.ts";
import type { InjectorSettings } from "./settings.ts";
import { mergeSources } from "./sources.ts";

/** The document's default; an agent that ends after the first time does not look at it. */
const UNUSED_REFRESH_SECONDS = 300;

/** Merges the bindings. Throws `invalid_request`, or `unavailable` when waiting will do. */
export function injectionFromBindings(pod: Pod, surroundings: Surroundings, settings: InjectorSettings): Injection {
  const found = match(pod, surroundings);
  const sources = mergeSources(found.bindings);
  const { deliveries, warnings } = deal(pod, found.bindings, sources, settings.fileKeyRef);
  const names = found.bindings.map((binding) => binding.metadata.name).join(",");
  return {
    deliveries,
    config: { ...serverOf(pod, found, surroundings), sources: sources.all, ...paceOf(found, surroundings, names) },
    agent: usualAgent(pod, settings),
    token: { kind: "own", audience: tokenAudience(found.cluster.metadata) },
    caBundle: found.cluster.status?.caBundle,
    position: "First",
    spec: groupOf(pod),
    annotations: { [BINDINGS_ANNOTATION]: names },
    warnings: [...warnings, ...modeWarnings(pod, found.bindings, settings), ...signalWarnings(pod, found.bindings)],
    title: `the pod's ${found.bindings.length} SecretBindings`,
  };
}

function serverOf(pod: Pod, found: Match, { namespace, bindings }: Surroundings) {
  const named = bindings.map((b) => ({ name: b.metadata.name, serviceAccounts: b.spec.serviceAccounts }));
  return {
    address: found.address,
    ...(found.cluster.status?.caBundle === undefined ? {} : { caFile: CA_FILE }),
    auth: { mount: AUTH_MOUNT, role: roleName(namespace, pod.serviceAccount, named), tokenFile: TOKEN_FILE },
  };
}

/** One sidecar if any binding wants one, at the shortest interval and the least staleness that any wants. */
function paceOf({ bindings }: Match, { namespace }: Surroundings, names: string) {
  const intervals = bindings.flatMap(({ spec }) => {
    const seconds = durationSeconds(spec.refreshInterval);
    return spec.mode === "Init" || seconds === 0 ? [] : [seconds];
  });
  const pace: Pick<AgentConfig, "mode" | "refreshIntervalSeconds"> =
    intervals.length === 0
      ? { mode: "Init", refreshIntervalSeconds: UNUSED_REFRESH_SECONDS }
      : { mode: "Sidecar", refreshIntervalSeconds: Math.min(...intervals) };
  const stale = bindings.flatMap(({ spec }) => (spec.maxStale === undefined ? [] : [durationSeconds(spec.maxStale)]));
  const limit = stale.filter((seconds) => seconds > 0);
  return {
    ...pace,
    ...(limit.length === 0 ? {} : { maxStaleSeconds: Math.min(...limit) }),
    jitterPercent: 10,
    readyFile: READY_FILE,
    labels: { namespace, bindings: names },
  };
}

/** The group that reads the files: the pod's fsGroup, which volumes take on, or the agent's, which all then join. */
export function groupOf(pod: Pod): { readonly securityContext?: Pod["securityContext"] } {
  if (pod.fsGroup !== undefined || pod.supplementalGroups.includes(AGENT_ID)) return {};
  const supplementalGroups = [...pod.supplementalGroups, AGENT_ID];
  return { securityContext: { ...pod.securityContext, supplementalGroups } };
}

/** A file that only its owner may read is of use when the application runs as that owner. */
function modeWarnings(pod: Pod, bindings: readonly SecretBinding[], settings: InjectorSettings): readonly string[] {
  const user = agentUser(pod, settings);
  // Undefined: the cluster gives the agent and the application the same one.
  if (user === undefined || pod.runAsUser === user) return [];
  return bindings.flatMap((binding) =>
    binding.spec.files
      .filter(({ mode }) => (Number.parseInt(mode, 8) & 0o044) === 0)
      .map(
        ({ path, mode }) =>
          `${titleOf(binding)} writes ${path} with mode ${mode}, which only user ${user} can read: set the pod's securityContext.runAsUser, or a mode such as 0440`,
      ),
  );
}

/** Whoever shares no processes sees none but the agent's. */
function signalWarnings(pod: Pod, bindings: readonly SecretBinding[]): readonly string[] {
  if (pod.sharesProcesses) return [];
  return bindings
    .filter(({ spec }) => spec.onChange?.signal !== undefined)
    .map(
      (binding) => `${titleOf(binding)} wants a signal, which reaches no process without shareProcessNamespace: true`,
    );
}
