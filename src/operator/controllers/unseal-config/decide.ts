// What an UnsealConfig's status says. It is not the operator that has the right to use the key but the servers, so
// whether the key works is what they say of it; what can be checked without credentials is checked here.
import type { Millis } from "#common/clock.ts";
import { type Finding, type Look, type Summary, summaryFindings, withoutConditions } from "#kube/conditions.ts";
import { findCondition } from "../../api/conditions.ts";
import type { UnsealConfig, UnsealConfigStatus } from "../../api/unseal-config.ts";
import type { Machinery } from "../../servers/machinery.ts";
import type { MemberProbe, SealTrouble } from "../../servers/probe.ts";
import { type SecretFacts, secretProblem } from "../../unseal-secret.ts";
import { conclude, type Decision } from "../decision.ts";
import { hsmFinding, hsmShown } from "./hsm-status.ts";

export interface UsingCluster {
  readonly name: string;
  readonly isSuspended: boolean;
  readonly members: readonly MemberProbe[];
  /** What its servers know of the HSMs behind the seal. */
  readonly machinery?: Machinery | undefined;
}

export interface Observed {
  readonly config: UnsealConfig;
  /** The Secret that the configuration names; undefined when it does not exist. */
  readonly secret: SecretFacts | undefined;
  /** The VaultClusters that refer to it. */
  readonly clusters: readonly UsingCluster[];
  readonly look: Look;
}

/** Servers' states are asked for this often; changes of clusters bring it forward. */
const LOOK_MILLIS: Millis = 30_000;
/** An unchanged result is written again after this long: fresh enough for people, rare enough for the API server. */
const PROBE_SHOWN_MILLIS: Millis = 300_000;
const OK = "OK";

/** What a server's fault is called here; the rest are the same words. */
const REASONS: Readonly<Record<string, string>> = {
  KeyPendingDeletion: "KeyDisabled",
  InvalidCiphertext: "WrongEncryptionContext",
  Unreachable: "EndpointUnreachable",
};
/** Faults that pass by themselves; all others want somebody's hand. */
const PASSING = new Set(["Throttled", "Unreachable", "Failed"]);

export function decide(observed: Observed): Decision<UnsealConfigStatus> {
  const { config, look, clusters } = observed;
  const before = config.status;
  const summary = summarise(observed);
  const machinery = clusters.map((cluster) => cluster.machinery).find((found) => found !== undefined);
  const findings: readonly Finding[] = [
    ...(summary === undefined ? [] : summaryFindings(summary)),
    ...(machinery === undefined ? [] : [hsmFinding(machinery)]),
  ];
  const hasCluster = config.spec.pkcs11?.cloudHsm !== undefined;
  const kept = hasCluster ? (before?.conditions ?? []) : withoutConditions(before?.conditions ?? [], "HsmHealthy");
  const { conditions, events } = conclude(kept, look, findings);
  const keyId = config.spec.awsKms?.keyId ?? config.spec.pkcs11?.keyLabel;
  const hsm = hasCluster ? hsmShown(machinery, before?.hsm) : undefined;
  const lastProbe = probeShown(observed);
  const status: UnsealConfigStatus = {
    observedGeneration: look.generation,
    provider: providerOf(config),
    ...(keyId === undefined ? {} : { keyId }),
    usedBy: clusters.map(({ name }) => name).toSorted(),
    ...(lastProbe === undefined ? {} : { lastProbe }),
    ...(hsm === undefined ? {} : { hsm }),
    conditions,
  };
  return { objects: [], removals: [], status, events, requeueAfterMillis: LOOK_MILLIS };
}

function providerOf({ spec }: UnsealConfig): NonNullable<UnsealConfigStatus["provider"]> {
  if (spec.pkcs11 !== undefined) return "pkcs11";
  return spec.awsKms === undefined ? "static" : "awsKms";
}

/** Undefined when nothing new is known: then the last word stands. */
function summarise({ config, secret, clusters }: Observed): Summary | undefined {
  const problem = secretProblem(config, secret);
  if (problem !== undefined) return { state: "stalled", reason: "SecretNotFound", message: problem };
  const trouble = troubleOf(clusters);
  if (trouble !== undefined) {
    const reason = REASONS[trouble.reason] ?? trouble.reason;
    return { state: PASSING.has(trouble.reason) ? "failing" : "stalled", reason, message: trouble.message };
  }
  const working = clusters.filter(({ members }) => members.some(isWorking));
  if (working.length > 0) {
    const names = working.map(({ name }) => name).toSorted();
    return { state: "ready", reason: "KeyAccessible", message: `the key unsealed ${names.join(", ")}` };
  }
  const isKnown = findCondition(config.status, "Ready")?.observedGeneration === config.metadata.generation;
  if (clusters.length > 0 && clusters.every(({ isSuspended }) => isSuspended))
    return { state: "reconciling", reason: "Suspended", message: "the clusters that would use it are suspended" };
  if (clusters.length > 0 && isKnown) return undefined;
  const message =
    clusters.length === 0
      ? "no VaultCluster of this namespace uses it yet, so the key has not been tried"
      : "the servers that use it have not said yet whether the key works";
  return { state: "reconciling", reason: "NotProbed", message };
}

function troubleOf(clusters: readonly UsingCluster[]): SealTrouble | undefined {
  return clusters
    .flatMap(({ members }) => members)
    .flatMap(({ answer }) => (answer.kind === "answered" ? answer.troubles : []))
    .at(0);
}

function isWorking({ answer }: MemberProbe): boolean {
  return answer.kind === "answered" && answer.initialized && !answer.sealed;
}

function probeShown({ config, clusters, look }: Observed): UnsealConfigStatus["lastProbe"] {
  const before = config.status?.lastProbe;
  const answers = clusters
    .flatMap(({ members }) => members)
    .flatMap(({ answer }) => (answer.kind === "answered" ? [answer] : []));
  const [trouble] = answers.flatMap(({ troubles }) => troubles);
  const working = answers.find(({ initialized, sealed }) => initialized && !sealed);
  if (trouble === undefined && working === undefined) return before;
  const result = trouble?.reason ?? OK;
  const age = look.now - Date.parse(before?.time ?? "");
  if (before?.result === result && age < PROBE_SHOWN_MILLIS) return before;
  return { time: secondTime(look.now), result };
}

function secondTime(at: Millis): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
}
