// The CRDs as manifests, and as templates of the chart. Helm never upgrades what is in a chart's crds/ folder, so there
// they are ordinary templates, kept by `helm uninstall` (removing a CRD removes every object of its kind).
import { stringify } from "yaml";
import { customResourceDefinition } from "#operator/api/crd.ts";
import { definitions } from "#operator/api/registry.ts";
import type { Generator } from "./generator.ts";

const HEAD = "# Made by `npm run generate` from src/operator/api; edit it there.\n";

function chartTemplate(manifest: string): string {
  if (manifest.includes("{{")) throw new Error("a description holds {{, which Helm would read as a template");
  const kept = manifest.replace(
    /^metadata:\n/m,
    'metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  labels:\n    {{- include "coffer.labels" . | nindent 4 }}\n',
  );
  return `${HEAD}{{- if .Values.crds.install }}\n${kept}{{- end }}\n`;
}

export const crdGenerator: Generator = {
  name: "crds",
  files() {
    const files = new Map<string, string>();
    for (const definition of definitions) {
      const manifest = stringify(customResourceDefinition(definition), { lineWidth: 0, aliasDuplicateObjects: false });
      files.set(`crds/${definition.plural}.yaml`, HEAD + manifest);
      files.set(`charts/coffer/templates/crds/${definition.plural}.yaml`, chartTemplate(manifest));
    }
    return files;
  },
};
