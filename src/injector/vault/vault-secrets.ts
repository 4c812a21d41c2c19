// The files that a pod's annotations of vault-k8s ask for.
import { type AnnotationName, VAULT_PREFIX, vaultAnnotations } from "./annotation-table.ts";
import { type ChangeSignal, signalOfCommand } from "./change-command.ts";
import { allNames, keyOf, type VaultAnnotations, wrongAnnotation } from "./read-annotations.ts";

export type VaultContent =
  | { readonly kind: "map" | "json" | "token"; readonly path: string }
  | {
      readonly kind: "template";
      readonly text: string;
      readonly delimiters: readonly [string, string];
      readonly failsOnMissingKey: boolean;
    };

export interface VaultSecret {
  /** As it is written in the annotations. */
  readonly name: string;
  readonly content: VaultContent;
  readonly directory: string;
  /** Below the directory. */
  readonly file: string;
  readonly mode: string;
  readonly onChange: ChangeSignal | undefined;
}

export interface VaultSecrets {
  readonly secrets: readonly VaultSecret[];
  readonly warnings: readonly string[];
}

/** A pod of a thousand secrets has other needs than annotations. */
export const SECRETS_MAX = 256;
const TOKEN = "token";
/** Rows that belong to one secret each. */
const PER_SECRET: readonly AnnotationName[] = allNames().filter(
  (which) => vaultAnnotations[which].named !== "no" && which !== "authConfig" && which !== "telemetry",
);

/** Puts the annotations of each secret together. Throws `invalid_request`. */
export function vaultSecrets(read: VaultAnnotations): VaultSecrets {
  const hasToken = read.known("token");
  const names = new Set([...read.namesOf("secret"), ...read.namesOf("template"), ...(hasToken ? [TOKEN] : [])]);
  if (names.size > SECRETS_MAX) throw wrongAnnotation("secret", `there are more than ${SECRETS_MAX}`, "NAME");
  const secrets = [...names].sort().map((name) => secretOf(read, name, hasToken && name === TOKEN));
  return { secrets, warnings: orphans(read, names) };
}

function secretOf(read: VaultAnnotations, name: string, isToken: boolean): VaultSecret {
  const directory = read.known("volumePath", name).replace(/\/+$/, "");
  if (directory === "") throw wrongAnnotation("volumePath", "must not be the root directory");
  const command = read.value("command", name);
  const onChange = command === undefined ? undefined : signalOfCommand(command);
  if (command !== undefined && onChange === undefined) {
    throw wrongAnnotation(
      "command",
      "the agent's image has no shell: write a signal such as kill -HUP $(pidof nginx), or let the application look at the file",
      name,
    );
  }
  return {
    name,
    content: isToken ? { kind: "token", path: "auth/token/lookup-self" } : contentOf(read, name),
    directory,
    file: read.value("file", name) ?? (read.known("preserveCase", name) ? name : name.toLowerCase()),
    mode: read.known("mode", name),
    onChange,
  };
}

function contentOf(read: VaultAnnotations, name: string): VaultContent {
  const text = read.value("template", name);
  if (text !== undefined) {
    return {
      kind: "template",
      text,
      delimiters: [read.known("leftDelimiter", name), read.known("rightDelimiter", name)],
      failsOnMissingKey: read.known("missingKey", name),
    };
  }
  const path = read.value("secret", name)?.replace(/^\/+/, "");
  if (path === undefined || path === "") throw wrongAnnotation("secret", "write the path of a secret", name);
  return { kind: read.known("defaultTemplate"), path };
}

/** What is said of a secret that is not there, most often by a slip in its name. */
function orphans(read: VaultAnnotations, names: ReadonlySet<string>): readonly string[] {
  return PER_SECRET.flatMap((which) =>
    read
      .namesOf(which)
      .filter((name) => !names.has(name))
      .map(
        (name) =>
          `the annotation ${keyOf(which, name)} has no effect: there is no ${VAULT_PREFIX}agent-inject-secret-${name}`,
      ),
  );
}
