// Conditions of an object's status, pure. `lastTransitionTime` moves only when the status flips, `observedGeneration`
// at each look. The summary is what kstatus reads (kubectl wait, Argo CD, Flux): Ready, and the two that are True only
// while something is out of the ordinary, Reconciling and Stalled.
// Format: metav1.Condition; github.com/kubernetes-sigs/cli-utils, kstatus.
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonValue } from "#common/json.ts";
import { type Infer, list, number, object, oneOf, optional, string, withDefault } from "#common/schema.ts";
import { secondTime } from "./micro-time.ts";

const condition = object({
  type: string,
  status: oneOf("True", "False", "Unknown"),
  reason: withDefault(string, ""),
  message: withDefault(string, ""),
  lastTransitionTime: withDefault(string, ""),
  observedGeneration: optional(number),
});
const conditions = withDefault(list(condition), []);

/** Written as JSON as it is. */
export type Condition = Infer<typeof condition>;

/** What a controller has found out; time and generation come from the look. */
export interface Finding {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** CamelCase, from a closed list of the controller. */
  readonly reason: string;
  readonly message: string;
}

/** When an object was looked at, and in which generation. */
export interface Look {
  readonly now: Millis;
  readonly generation: number;
}

/** metav1.Condition allows this much; the API server refuses more. */
export const CONDITION_MESSAGE_CHARACTERS_MAX = 32_768;
/** What people read in a table; the API server would take the whole of the above for each condition of each object. */
const MESSAGE_CHARACTERS_KEPT = 1024;
const REASON = /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/;

/** Reads `status.conditions`; absent is none. Throws `invalid_request`. */
export function parseConditions(value: JsonValue | undefined): readonly Condition[] {
  return conditions.parse(value, "status.conditions");
}

/** The conditions with the findings in them; others stay as they are. Throws `internal` for a malformed reason. */
export function withFindings(
  before: readonly Condition[],
  look: Look,
  ...findings: readonly Finding[]
): readonly Condition[] {
  const merged = new Map(before.map((old) => [old.type, old]));
  for (const finding of findings) merged.set(finding.type, conditionOf(merged.get(finding.type), finding, look));
  return [...merged.values()];
}

/** The conditions without the types that mean nothing any more. */
export function withoutConditions(before: readonly Condition[], ...types: readonly string[]): readonly Condition[] {
  return before.filter(({ type }) => !types.includes(type));
}

function conditionOf(old: Condition | undefined, finding: Finding, look: Look): Condition {
  if (!REASON.test(finding.reason))
    throw new CofferError("internal", `the condition ${finding.type} has the malformed reason "${finding.reason}"`);
  const flipped = old?.status !== finding.status || old.lastTransitionTime === "";
  return {
    type: finding.type,
    status: finding.status,
    reason: finding.reason,
    message: finding.message.slice(0, MESSAGE_CHARACTERS_KEPT),
    lastTransitionTime: flipped ? secondTime(look.now) : old.lastTransitionTime,
    observedGeneration: look.generation,
  };
}

/** The one state that an object is in as a whole. */
export type Summary =
  | { readonly state: "ready"; readonly reason: string; readonly message: string }
  /** On its way, nothing is wrong. */
  | { readonly state: "reconciling"; readonly reason: string; readonly message: string }
  /** Will not get ready until somebody changes something. */
  | { readonly state: "stalled"; readonly reason: string; readonly message: string }
  /** Failing at the moment and tried again: not ready, but still reconciling. */
  | { readonly state: "failing"; readonly reason: string; readonly message: string };

/** Ready, Reconciling and Stalled for a summary, to be given to `withFindings`. */
export function summaryFindings({ state, reason, message }: Summary): readonly Finding[] {
  const finding = (type: string, holds: boolean): Finding => ({
    type,
    status: holds ? "True" : "False",
    reason,
    message,
  });
  return [
    finding("Ready", state === "ready"),
    finding("Reconciling", state === "reconciling" || state === "failing"),
    finding("Stalled", state === "stalled"),
  ];
}

/** True when the condition is there and True for the given generation (any when absent). */
export function isTrue(all: readonly Condition[], type: string, generation?: number): boolean {
  return all.some(
    (one) =>
      one.type === type &&
      one.status === "True" &&
      (generation === undefined || (one.observedGeneration ?? 0) >= generation),
  );
}
