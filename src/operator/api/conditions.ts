// Conditions as Kubernetes has them (metav1.Condition, kstatus): the schema, the column that shows one, and how one
// is looked up. Which conditions and reasons a kind has is said in its definition.
import { choice, type Infer, integer, list, message, object, optional, text, time, withDefault } from "./fields.ts";
import type { Column } from "./resource.ts";

/** The limits are those of metav1.Condition. */
const condition = object("One aspect of the object's state.", {
  type: text("Which aspect.", 316),
  status: choice("Whether it holds.", ["True", "False", "Unknown"]),
  reason: text("Why, as one word in CamelCase.", 1024),
  message: message("Why, as a sentence that says what to do.", 32_768),
  lastTransitionTime: time("When the status last changed."),
  observedGeneration: optional(integer("The generation of the spec that this is about.", 0, Number.MAX_SAFE_INTEGER)),
});
export type Condition = Infer<typeof condition>;

export const conditions = withDefault(list("What is known of the object.", condition, { max: 16, keys: ["type"] }), []);

export const observedGeneration = optional(
  integer("The generation of the spec that this status is about.", 0, Number.MAX_SAFE_INTEGER),
);

/** The condition of a type, if the object has it. */
export function findCondition(
  status: { readonly conditions: readonly Condition[] } | undefined,
  type: string,
): Condition | undefined {
  return status?.conditions.find((c) => c.type === type);
}

/** Whether the condition is there and holds. */
export function holds(status: { readonly conditions: readonly Condition[] } | undefined, type: string): boolean {
  return findCondition(status, type)?.status === "True";
}

export const readyColumns: readonly Column[] = [
  {
    name: "Ready",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Ready")].status',
    description: "Whether it works.",
  },
  {
    name: "Reason",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
    description: "Why it does or does not.",
  },
];

export const ageColumn: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "How long it has been there.",
};
