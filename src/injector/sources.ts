// The secrets that a pod reads, merged from its bindings: the same version of the same path is read once.
import { CofferError } from "#common/errors.ts";
import { type BindingSource, type SecretBinding, sourcesOf } from "#operator/api/secret-binding.ts";

export interface Sources {
  /** With names that are unique within the pod. */
  readonly all: readonly BindingSource[];
  /** The source that a file or variable of a binding comes from; without a name the only one. */
  of(binding: SecretBinding, name: string | undefined): BindingSource;
}

/** Merges the sources. One that any binding needs is not optional. */
export function mergeSources(bindings: readonly SecretBinding[]): Sources {
  const byPlace = new Map<string, BindingSource>();
  for (const binding of bindings) {
    for (const source of sourcesOf(binding.spec)) {
      const known = byPlace.get(placeOf(source));
      byPlace.set(placeOf(source), {
        ...source,
        name: known?.name ?? `${binding.metadata.name}/${source.name}`,
        optional: source.optional && (known?.optional ?? true),
      });
    }
  }
  return {
    all: [...byPlace.values()],
    of(binding, name) {
      const own = sourcesOf(binding.spec);
      const source = name === undefined && own.length === 1 ? own[0] : own.find((s) => s.name === name);
      const merged = source && byPlace.get(placeOf(source));
      if (merged) return merged;
      throw new CofferError(
        "invalid_request",
        `SecretBinding ${binding.metadata.namespace}/${binding.metadata.name} has no source ${JSON.stringify(name ?? "")}: name one of spec.sources`,
      );
    },
  };
}

function placeOf(source: BindingSource): string {
  return `${source.path}@${source.version}`;
}
