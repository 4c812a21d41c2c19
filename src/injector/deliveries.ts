// What each container of a pod is to receive, merged from the bindings: files by directory, and variables.
// Two bindings must not write the same file or variable of one container, nor hide what the container has already.
import type { AgentConfig } from "#common/agent-config.ts";
import { CofferError } from "#common/errors.ts";
import { type BindingSource, type SecretBinding, sourcesOf } from "#operator/api/secret-binding.ts";
import { titleOf } from "./match.ts";
import type { Container, Pod } from "./pod.ts";
import type { Sources } from "./sources.ts";

/** Who asks for something, as messages name it. */
export interface Owner {
  /** Unique within the pod. */
  readonly id: string;
  /** "SecretBinding team/db". */
  readonly title: string;
  /** What to change when the directory of its files does not fit, to follow "change". */
  readonly directoryField: string;
}

export interface DeliveredFile {
  readonly owner: Owner;
  readonly directory: string;
  /** `path` is below the directory, `source` a name among the agent's sources. */
  readonly file: AgentConfig["files"][number];
}

export type VariableMethod = "FileKeyRef" | "Helper";

export interface DeliveredVariable {
  readonly owner: Owner;
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
    const directories = directoriesOf(
      container,
      own.flatMap((binding) => filesOf(binding, sources)),
    );
    return [{ container, directories, variables: variablesOf(container, own, sources, fileKeyRef) }];
  });
  return { deliveries, warnings };
}

function ownerOf(binding: SecretBinding): Owner {
  const title = titleOf(binding);
  return { id: binding.metadata.name, title, directoryField: `spec.mountPath of ${title}` };
}

function absentContainers(pod: Pod, binding: SecretBinding): readonly string[] {
  return namesAbsent(pod, titleOf(binding), "spec.containers", binding.spec.containers ?? []);
}

/**
 * What names containers may serve several workloads, so that one that is not there is worth a warning, and all of them a
 * refusal. `field` is where they are named.
 */
export function namesAbsent(pod: Pod, title: string, field: string, wanted: readonly string[]): readonly string[] {
  const present = new Set([...pod.initContainers, ...pod.containers].map((c) => c.name));
  const absent = wanted.filter((name) => !present.has(name));
  if (absent.length === 0) return [];
  const sentence = `${title} names the container ${absent.join(", ")}, which the pod does not have`;
  if (absent.length === wanted.length) refuse(`${sentence}: correct ${field} or the pod`);
  return [sentence];
}

function filesOf(binding: SecretBinding, sources: Sources): readonly DeliveredFile[] {
  const owner = ownerOf(binding);
  const own = sourcesOf(binding.spec);
  const localNames = Object.fromEntries(own.map(({ name }) => [name, sources.of(binding, name).name]));
  return binding.spec.files.map(({ source, path, format, key, template, keystore, errorOnMissingKey, mode }) => ({
    owner,
    directory: binding.spec.mountPath,
    file: {
      path,
      source: format === "Template" && source === undefined && own.length > 1 ? "" : sources.of(binding, source).name,
      format,
      ...(key === undefined ? {} : { key }),
      ...(template === undefined
        ? {}
        : { template: { text: template, errorOnMissingKey: errorOnMissingKey ?? true, sources: localNames } }),
      ...(keystore === undefined ? {} : { keystore: keystoreOf(keystore, localNames) }),
      ...hookOf(binding),
      mode,
    },
  }));
}

function hookOf({ spec: { onChange } }: SecretBinding): Pick<AgentConfig["files"][number], "onChange"> {
  if (onChange === undefined) return {};
  const { http, signal } = onChange;
  return {
    onChange: {
      ...(http === undefined ? {} : { http: `http://127.0.0.1:${http.port}${http.path}` }),
      ...(signal === undefined ? {} : { signal: signal.name, process: signal.process }),
    },
  };
}

type BindingKeystore = NonNullable<SecretBinding["spec"]["files"][number]["keystore"]>;

function keystoreOf(
  { passwordSource, passwordKey, ...rest }: BindingKeystore,
  localNames: Readonly<Record<string, string>>,
): NonNullable<AgentConfig["files"][number]["keystore"]> {
  const other = passwordSource === undefined ? {} : { source: localNames[passwordSource] ?? passwordSource };
  return { ...rest, password: { ...other, key: passwordKey } };
}

/** Files by their directories. Throws `invalid_request` when two of them, or a mount of the container, are in the way. */
export function directoriesOf(container: Container, delivered: readonly DeliveredFile[]): Delivery["directories"] {
  const directories = new Map<string, DeliveredFile[]>();
  for (const added of delivered) {
    const files = directories.get(added.directory) ?? [];
    directories.set(added.directory, files);
    for (const other of files) assertApart(other, added);
    files.push(added);
  }
  assertDirectories(container, directories);
  return directories;
}

function assertApart(a: DeliveredFile, b: DeliveredFile): void {
  const where = (d: DeliveredFile) => `${d.directory}/${d.file.path}`;
  const within = (outer: DeliveredFile, inner: DeliveredFile) =>
    inner.file.path.startsWith(`${outer.file.path}/`) && outer.file.format !== "PerKey";
  if (a.file.path === b.file.path) {
    refuse(`${both(a, b)} write the same file ${where(a)}: change the path or the mountPath of one`);
  }
  if (within(a, b) || within(b, a)) {
    refuse(`${both(a, b)} write ${where(a)} and ${where(b)}, and one path cannot be both a file and a directory`);
  }
}

function both(a: { readonly owner: Owner }, b: { readonly owner: Owner }): string {
  return a.owner.id === b.owner.id ? `two entries of ${a.owner.title}` : `${a.owner.title} and ${b.owner.title}`;
}

function assertDirectories(container: Container, directories: Delivery["directories"]): void {
  const paths = [...directories.keys()];
  for (const [path, [first]] of directories) {
    const inner = paths.find((other) => other.startsWith(`${path}/`));
    if (inner) refuse(`the mountPaths ${path} and ${inner} lie within one another: use one of them, or two apart`);
    const mount = container.volumeMounts.find((m) => m.mountPath.replace(/\/+$/, "") === path);
    if (mount && first) {
      refuse(
        `container ${container.name} already mounts volume ${mount.name} at ${path}: change ${first.owner.directoryField}`,
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
    const owner = ownerOf(binding);
    const method = binding.spec.env.length === 0 ? "Helper" : methodOf(binding, fileKeyRef);
    for (const { name, key, source } of binding.spec.env) {
      const added = { owner, name, key, method, source: sources.of(binding, source) };
      const other = variables.get(name);
      if (other) refuse(`${both(other, added)} set the same environment variable ${name}: rename or remove one`);
      if (container.env.some((existing) => existing.name === name)) {
        refuse(
          `container ${container.name} already has the environment variable ${name}: remove it from the pod or from ${owner.title}`,
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
    `container ${container.name} states no command, which the helper needs to set the environment variables of ${helped.owner.title}: write the image's entrypoint as the container's command, or use files instead of env`,
  );
}
