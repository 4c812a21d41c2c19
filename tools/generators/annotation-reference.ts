// The page of the annotations of vault-k8s, from the table that reads them.
import { type Annotation, VAULT_PREFIX, vaultAnnotations } from "#injector/vault/annotation-table.ts";
import { allNames } from "#injector/vault/read-annotations.ts";
import type { Generator } from "./generator.ts";
import { pageHead, type Row, table } from "./markdown.ts";

const EFFECTS: Readonly<Record<Annotation<unknown>["effect"], string>> = {
  kept: "as there",
  changed: "differs",
  nothing: "no effect",
  refused: "refused",
};

const INTRODUCTION = `Pods with \`${VAULT_PREFIX}agent-inject: "true"\` receive secrets by these annotations, where the chart's value \`webhook.vaultAnnotations\` is on and no [SecretBinding](secretbinding.md) selects the pod by its label. [How to move from vault-k8s](../guides/migrate-from-vault-k8s.md).

All begin with \`${VAULT_PREFIX}\`. *As there*: it does what it does in vault-k8s. *Differs*: the last column says how. *No effect*: it is read, and what it switches is not there to be switched. *Refused*: the pod is not created. An empty annotation counts as none; one that is not known gives a warning when the pod is created; a value that is written wrongly refuses the pod. Annotations of Coffer's own (\`coffer.dev/\`) that are not known refuse it too.

`;

function rowOf(row: Annotation<unknown>): Row {
  const name = { no: "", yes: "-NAME", maybe: "[-NAME]" }[row.named];
  return [
    `\`${row.key}${name}\``,
    row.type.name,
    row.fallback === undefined ? "" : `\`${row.fallback}\``,
    EFFECTS[row.effect],
    row.doc,
  ];
}

function page(): string {
  const rows = allNames().map((which) => rowOf(vaultAnnotations[which]));
  const heads = ["Annotation", "Value", "Default", "Compared with vault-k8s", "Meaning"];
  return (
    pageHead("Annotations of vault-k8s", "src/injector/vault/annotation-table.ts") + INTRODUCTION + table(heads, rows)
  );
}

export const annotationReferenceGenerator: Generator = {
  name: "annotation-reference",
  files: () => new Map([["docs/reference/vault-annotations.md", page()]]),
};
