// What the three kinds have in common: group and version, the envelope, how one is read from JSON, and what a definition
// says about its kind. The CRD itself is made by crd.ts.
import type { JsonObject, JsonValue } from "#common/json.ts";
import * as shape from "#common/schema.ts";
import type { Field, Rule } from "./fields.ts";

export const GROUP = "coffer.dev";
export const VERSION = "v1alpha1";
export const API_VERSION = "coffer.dev/v1alpha1";

/** Changing this annotation's value makes the controllers look at the object at once. */
export const RECONCILE_ANNOTATION = "coffer.dev/reconcile-at";

const metadata = shape.object({
  name: shape.string,
  namespace: shape.withDefault(shape.string, ""),
  uid: shape.withDefault(shape.string, ""),
  resourceVersion: shape.optional(shape.string),
  generation: shape.withDefault(shape.number, 0),
  creationTimestamp: shape.optional(shape.string),
  deletionTimestamp: shape.optional(shape.string),
  labels: shape.withDefault(shape.map(shape.string), {}),
  annotations: shape.withDefault(shape.map(shape.string), {}),
  finalizers: shape.withDefault(shape.list(shape.string), []),
});
export type Metadata = shape.Infer<typeof metadata>;

/** An object of one of our kinds, defaults filled in. */
export interface Resource<Spec, Status> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec: Spec;
  readonly status?: Status | undefined;
}

export interface Column {
  readonly name: string;
  readonly jsonPath: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly description: string;
  /** 1 shows it only with `-o wide`. */
  readonly priority?: 1;
}

/** All that is to be said about a kind; the CRD, the reference page and the reader come from it. */
export interface Definition<Spec, Status> {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortName: string;
  readonly description: string;
  readonly spec: Field<Spec>;
  readonly status: Field<Status>;
  readonly columns: readonly Column[];
  /** Rules over the whole object; of its metadata they see the name only. */
  readonly rules?: readonly Rule[];
  readonly scale?: JsonObject;
  /** Condition types and the reasons that they have, with what each means. */
  readonly conditions: Readonly<Record<string, string>>;
  readonly reasons: Readonly<Record<string, string>>;
  /** A manifest that is as short as it can be, for the reference page. */
  readonly example: string;
}

/** Reads an object as the API server gives it. Throws `invalid_request` naming the member that does not fit. */
export function readResource<Spec, Status>(
  definition: Definition<Spec, Status>,
  value: JsonValue,
): Resource<Spec, Status> {
  const envelope = shape.object({ metadata, spec: shape.json, status: shape.json }).parse(value, "");
  return {
    apiVersion: API_VERSION,
    kind: definition.kind,
    metadata: envelope.metadata,
    spec: definition.spec.parse(envelope.spec, "spec"),
    status: envelope.status === null ? undefined : definition.status.parse(envelope.status, "status"),
  };
}

/** The kind as the Kubernetes client wants it. */
export function resourceKind(definition: Pick<Definition<unknown, unknown>, "plural" | "kind">) {
  return {
    group: GROUP,
    version: VERSION,
    plural: definition.plural,
    kind: definition.kind,
    namespaced: true,
  } as const;
}
