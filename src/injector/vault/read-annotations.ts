// A pod's annotations, read by the table. What is not known of vault-k8s' own gets a warning, for manifests outlive the
// injector they were written for; what is written wrongly or cannot be done refuses the pod, naming the annotation.
import { CofferError } from "#common/errors.ts";
import { type Annotation, type AnnotationName, VAULT_PREFIX, vaultAnnotations } from "./annotation-table.ts";

type Table = typeof vaultAnnotations;
type ValueOf<K extends AnnotationName> = Table[K] extends Annotation<infer T> ? T : never;

export interface VaultAnnotations {
  /** The value, or its default, or undefined. `name` is what follows the key: the secret's name as it is written. */
  value<K extends AnnotationName>(which: K, name?: string): ValueOf<K> | undefined;
  /** The value of one that has a default. */
  known<K extends AnnotationName>(which: K, name?: string): ValueOf<K>;
  /** Whether the pod has it. */
  has(which: AnnotationName): boolean;
  /** What follows the key, in order: the names of secrets or parameters. */
  namesOf(which: AnnotationName): readonly string[];
  readonly warnings: readonly string[];
}

/** The annotation as it is written on pods: with its prefix, and the name behind it. */
export function keyOf(which: AnnotationName, name?: string): string {
  return `${VAULT_PREFIX}${vaultAnnotations[which].key}${name === undefined ? "" : `-${name}`}`;
}

export function wrongAnnotation(which: AnnotationName, message: string, name?: string): CofferError {
  return new CofferError("invalid_request", `${keyOf(which, name)}: ${message}`);
}

interface Found {
  readonly which: AnnotationName;
  readonly name: string | undefined;
}

/** Reads all of vault-k8s' annotations. Throws `invalid_request`. */
export function readVaultAnnotations(annotations: Readonly<Record<string, string>>): VaultAnnotations {
  const values = new Map<string, unknown>();
  const names = new Map<AnnotationName, string[]>();
  const warnings: string[] = [];
  for (const key of Object.keys(annotations).sort()) {
    const text = annotations[key];
    // As there, an empty annotation is as good as none.
    if (!key.startsWith(VAULT_PREFIX) || text === undefined || text === "") continue;
    const found = find(key.slice(VAULT_PREFIX.length));
    if (found === undefined) {
      warnings.push(`the annotation ${key} is not known and has no effect`);
      continue;
    }
    values.set(key, parse(found, text));
    if (found.name !== undefined) names.set(found.which, [...(names.get(found.which) ?? []), found.name]);
  }
  return reader(values, names, warnings);
}

function reader(
  values: ReadonlyMap<string, unknown>,
  names: ReadonlyMap<AnnotationName, readonly string[]>,
  warnings: readonly string[],
): VaultAnnotations {
  const value = <K extends AnnotationName>(which: K, name?: string): ValueOf<K> | undefined => {
    const row: Annotation<unknown> = vaultAnnotations[which];
    const own = values.get(keyOf(which, name)) ?? (row.named === "maybe" ? values.get(keyOf(which)) : undefined);
    const found = own ?? (row.fallback === undefined ? undefined : row.type.parse(row.fallback));
    // The map holds what this row's own type has parsed, under this row's own key.
    return found as ValueOf<K> | undefined;
  };
  return {
    value,
    known(which, name) {
      const found = value(which, name);
      if (found === undefined) throw new CofferError("internal", `${keyOf(which, name)} has no default`);
      return found;
    },
    has: (which) => values.has(keyOf(which)),
    namesOf: (which) => names.get(which) ?? [],
    warnings,
  };
}

/** The row of a key: the one that it is, else the longest that it begins with. */
function find(key: string): Found | undefined {
  let best: Found | undefined;
  for (const which of allNames()) {
    const row: Annotation<unknown> = vaultAnnotations[which];
    if (row.named !== "yes" && row.key === key) return { which, name: undefined };
    if (row.named === "no" || !key.startsWith(`${row.key}-`) || key.length === row.key.length + 1) continue;
    if (best === undefined || row.key.length > vaultAnnotations[best.which].key.length) {
      best = { which, name: key.slice(row.key.length + 1) };
    }
  }
  return best;
}

/** Object.keys forgets that these are the table's own. */
export function allNames(): readonly AnnotationName[] {
  return Object.keys(vaultAnnotations) as AnnotationName[];
}

function parse({ which, name }: Found, text: string): unknown {
  const row: Annotation<unknown> = vaultAnnotations[which];
  const value = row.type.parse(text);
  if (value === undefined) throw wrongAnnotation(which, `write ${row.type.wanted}`, name);
  if (row.effect === "refused" && value !== false) {
    throw wrongAnnotation(
      which,
      `is not supported: ${row.doc} Remove it; docs/guides/migrate-from-vault-k8s.md says what to do instead`,
      name,
    );
  }
  return value;
}
