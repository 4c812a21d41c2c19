// What controllers come to before anything is done: objects to apply, a status to write, events to tell, and when to look
// again. Pure data, so that a table of cases can test it; apply-decision.ts carries it out.
import type { Millis } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { type Condition, type Finding, type Look, withFindings } from "#kube/conditions.ts";
import type { ObjectRef, ResourceKind } from "#kube/kube-object.ts";

export interface DesiredObject {
  readonly kind: ResourceKind;
  /** With its name, and its namespace where the kind has them. */
  readonly object: JsonObject;
}
export interface Removal {
  readonly kind: ResourceKind;
  readonly ref: ObjectRef;
}

/** An event to be recorded about the object that was decided on. */
export interface Notice {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly action: string;
  readonly note: string;
}

export interface Decision<Status> {
  readonly objects: readonly DesiredObject[];
  readonly removals: readonly Removal[];
  readonly status: Status;
  readonly events: readonly Notice[];
  readonly requeueAfterMillis: Millis;
}

/** Types of which a change is told; the others repeat what these say. */
const UNTOLD = new Set(["Reconciling", "Stalled"]);

/** The conditions after a look, and an event for each that changed its status or its reason. */
export function conclude(
  before: readonly Condition[],
  look: Look,
  findings: readonly Finding[],
): { readonly conditions: readonly Condition[]; readonly events: readonly Notice[] } {
  const conditions = withFindings(before, look, ...findings);
  const events = findings.flatMap((finding): readonly Notice[] => {
    const old = before.find(({ type }) => type === finding.type);
    const isSame = old?.status === finding.status && old.reason === finding.reason;
    return isSame || UNTOLD.has(finding.type) ? [] : [noticeOf(finding, findings)];
  });
  return { conditions, events: withoutRepetition(events) };
}

/** A False is a warning, unless everything is merely on its way. */
function noticeOf(finding: Finding, all: readonly Finding[]): Notice {
  const isStalled = all.some(({ type, status }) => type === "Stalled" && status === "True");
  const isExpected = EXPECTED_REASONS.has(finding.reason) && !isStalled;
  const type = finding.status === "True" || isExpected ? "Normal" : "Warning";
  return { type, reason: finding.reason, action: "Reconcile", note: finding.message };
}

/** Reasons of a False that every healthy object passes through. */
const EXPECTED_REASONS = new Set([
  "PodsStarting",
  "Initializing",
  "Configuring",
  "NotProbed",
  "VaultNotReady",
  "EtcdStarting",
  "UpdateRunning",
  "VolumeResizing",
  "Suspended",
]);

function withoutRepetition(events: readonly Notice[]): readonly Notice[] {
  return events.filter(
    (event, at) => events.findIndex((other) => other.reason === event.reason && other.note === event.note) === at,
  );
}
