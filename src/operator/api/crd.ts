// Makes the CustomResourceDefinition of a kind from its definition.
// Format: apiextensions.k8s.io/v1, kubernetes.io/docs/reference/kubernetes-api.
import type { JsonObject } from "#common/json.ts";
import { type Definition, GROUP, VERSION } from "./resource.ts";

export function crdName(definition: Definition<unknown, unknown>): string {
  return `${definition.plural}.${GROUP}`;
}

function schemaOf(definition: Definition<unknown, unknown>): JsonObject {
  const rules = (definition.rules ?? []).map(({ rule, message }) => ({ rule, message }));
  return {
    type: "object",
    description: definition.description,
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: definition.spec.openapi,
      status: definition.status.openapi,
    },
    ...(rules.length > 0 ? { "x-kubernetes-validations": rules } : {}),
  };
}

/** The manifest, ready to be written as YAML or sent to an API server. */
export function customResourceDefinition(definition: Definition<unknown, unknown>): JsonObject {
  const { kind, plural, singular, shortName } = definition;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: crdName(definition) },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames: [shortName], categories: ["coffer"] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {}, ...(definition.scale ? { scale: definition.scale } : {}) },
          additionalPrinterColumns: definition.columns.map(({ priority, ...column }) =>
            priority === undefined ? { ...column } : { ...column, priority },
          ),
          schema: { openAPIV3Schema: schemaOf(definition) },
        },
      ],
    },
  };
}
