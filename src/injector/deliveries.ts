// What each container of a pod is to receive, merged from the bindings: files by directory, and variables.
// Two bindings must not write the same file or variable of one container, nor hide what the container has already.
import { CofferError } from "#common/errors.ts";
import type { BindingSource, SecretBinding } from "#operator/api/secret-binding.ts";
import { titleOf } from "./match.ts";
import type { Container, Pod } from "./pod.ts";
import type { Sources } from "./sources.ts";

export interface DeliveredFile {
  readonly binding: SecretBinding;
  readonly source: BindingSource;
  readonly file: SecretBinding["spec"]["files"][number];
}

export type VariableMethod = "FileKeyRef" | "Helper";

export interface DeliveredVariable {
  readonly binding: SecretBinding;
  readonly source: BindingSource;
  readonly name: string;
  readonly key: string;
  readonly method: VariableMethod;
}

export interface Delivery {
  readonly container: Container;
  /** Files by the directory that they are mounted in. */
  readonly directories: ReadonlyMap<string, readonly DeliveredFile[]>;
  readonly variables: readonly DeliveredVariable[];
}

export interface Deliveries {
  readonly deliveries: readonly Delivery[];
  readonly warnings: readonly string[];
}

function refuse(message: string): never {
  throw new CofferError("invalid_request", message);
}

/**
 * Deals the bindings' files and variables out to the containers. `fileKeyRef` says whether the cluster has it.
 * Throws `invalid_request` naming both sides of a conflict.
 */
export function deal(pod: Pod, bindings: readonly SecretBinding[], sources: Sources, fileKeyRef: boolean): Deliveries {
  const warnings = bindings.flatMap((binding) => absentContainers(pod, binding));
  const regular = new Set(pod.containers.map((c) => c.name));
  const deliveries = [...pod.initContainers, ...pod.containers].flatMap((container): readonly Delivery[] => {
    const own = bindings.filter(({ spec }) => spec.containers?.includes(container.name) ?? regular.has(container.name));
    if (own.length === 0) return [];
    const directories = directoriesOf(own, sources);
    assertDirectories(container, directories);
    return [{ container, directories, variables: variablesOf(container, own, sources, fileKeyRef) }];
  });
  return { deliveries, warnings };
}

/** A binding may serve several workloads, so a container that is not there is worth a warning, and all of them a refusal. */
function absentContainers(pod: Pod, binding: SecretBinding): readonly string[] {
  const present = new Set([...pod.initContainers, ...pod.containers].map((c) => c.name));
  const wanted = binding.spec.containers ?? [];
  const absent = wanted.filter((name) => !present.has(name));
  if (absent.length === 0) return [];
  const sentence = `${titleOf(binding)} names the container ${absent.join(", ")}, which the pod does not have`;
  if (absent.length === wanted.length) refuse(`${sentence}: correct spec.containers or the pod`);
  return [sentence];
}

function directoriesOf(
  bindings: readonly SecretBinding[],
  sources: Sources,
): ReadonlyMap<string, readonly DeliveredFile[]> {
  const directories = new Map<string, DeliveredFile[]>();
  for (const binding of bindings) {
    for (const file of binding.spec.files) {
      const files = directories.get(binding.spec.mountPath) ?? [];
      directories.set(binding.spec.mountPath, files);
      const added = { binding, file, source: sources.of(binding, file.source) };
      for (const other of files) assertApart(other, added);
      files.push(added);
    }
  }
  return directories;
}

function assertApart(a: DeliveredFile, b: DeliveredFile): void {
  const where = (d: DeliveredFile) => `${d.binding.spec.mountPath}/${d.file.path}`;
  const within = (outer: DeliveredFile, inner: DeliveredFile) =>
    inner.file.path.startsWith(`${outer.file.path}/`) && outer.file.format !== "PerKey";
  if (a.file.path === b.file.path) {
    refuse(`${both(a, b)} write the same file ${where(a)}: change the path or the mountPath of one`);
  }
  if (within(a, b) || within(b, a)) {
    refuse(`${both(a, b)} write ${where(a)} and ${where(b)}, and one path cannot be both a file and a directory`);
  }
}

function both(a: { readonly binding: SecretBinding }, b: { readonly binding: SecretBinding }): string {
  return a.binding === b.binding
    ? `two entries of ${titleOf(a.binding)}`
    : `${titleOf(a.binding)} and ${titleOf(b.binding)}`;
}

function assertDirectories(container: Container, directories: Delivery["directories"]): void {
  const paths = [...directories.keys()];
  for (const [path, [first]] of directories) {
    const inner = paths.find((other) => other.startsWith(`${path}/`));
    if (inner) refuse(`the mountPaths ${path} and ${inner} lie within one another: use one of them, or two apart`);
    const mount = container.volumeMounts.find((m) => m.mountPath.replace(/\/+$/, "") === path);
    if (mount && first) {
      refuse(
        `container ${container.name} already mounts volume ${mount.name} at ${path}: change spec.mountPath of ${titleOf(first.binding)}`,
      );
    }
  }
}

function variablesOf(
  container: Container,
  bindings: readonly SecretBinding[],
  sources: Sources,
  fileKeyRef: boolean,
): readonly DeliveredVariable[] {
  const variables = new Map<string, DeliveredVariable>();
  for (const binding of bindings) {
    const method = binding.spec.env.length === 0 ? "Helper" : methodOf(binding, fileKeyRef);
    for (const { name, key, source } of binding.spec.env) {
      const added = { binding, name, key, method, source: sources.of(binding, source) };
      const other = variables.get(name);
      if (other) refuse(`${both(other, added)} set the same environment variable ${name}: rename or remove one`);
      if (container.env.some((existing) => existing.name === name)) {
        refuse(
          `container ${container.name} already has the environment variable ${name}: remove it from the pod or from ${titleOf(binding)}`,
        );
      }
      variables.set(name, added);
    }
  }
  const list = [...variables.values()];
  assertCommand(container, list);
  return list;
}

function methodOf(binding: SecretBinding, fileKeyRef: boolean): VariableMethod {
  const { envMethod } = binding.spec;
  if (envMethod === "FileKeyRef" && !fileKeyRef) {
    refuse(
      `${titleOf(binding)} wants environment variables by FileKeyRef, which this cluster does not have (Kubernetes 1.35, or 1.34 with the feature gate EnvFiles): set spec.envMethod to Auto or Helper`,
    );
  }
  if (envMethod === "Auto") return fileKeyRef ? "FileKeyRef" : "Helper";
  return envMethod;
}

function assertCommand(container: Container, variables: readonly DeliveredVariable[]): void {
  const helped = variables.find((variable) => variable.method === "Helper");
  if (helped === undefined || (container.command ?? []).length > 0) return;
  refuse(
    `container ${container.name} states no command, which the helper needs to set the environment variables of ${titleOf(helped.binding)}: write the image's entrypoint as the container's command, or use files instead of env`,
  );
}
