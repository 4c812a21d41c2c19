// Turns deliveries into volumes: containers that receive the same things share one, others see nothing of it. Gives what
// the agent writes where, and what is to be added to each container.
import type { AgentConfig } from "#common/agent-config.ts";
import type { JsonObject } from "#common/json.ts";
import type { DeliveredFile, DeliveredVariable, Delivery } from "./deliveries.ts";
import {
  FILES_VOLUME,
  HELPER_DIRECTORY,
  HELPER_IN_CONTAINER,
  HELPER_VOLUME,
  VARIABLES_DIRECTORY,
  VARIABLES_FILE,
  VARIABLES_VOLUME,
  VOLUMES_DIRECTORY,
} from "./paths.ts";

/** What is added to one container. */
export interface Addition {
  readonly mounts: readonly JsonObject[];
  readonly env: readonly JsonObject[];
  /** Put before the container's own command. */
  readonly commandPrefix: readonly string[];
}

export interface Layout {
  readonly additions: ReadonlyMap<string, Addition>;
  /** Names of the volumes in memory that the agent writes. */
  readonly volumes: readonly string[];
  readonly files: AgentConfig["files"];
  readonly environments: AgentConfig["environments"];
  readonly needsHelper: boolean;
}

/** Gives equal contents the same volume, and numbers the volumes. */
class VolumeNames {
  readonly #names = new Map<string, string>();
  readonly #base: string;
  constructor(base: string) {
    this.#base = base;
  }
  /** The volume for a content, and whether it is the first time that it is asked for. */
  take(content: readonly unknown[]): { readonly name: string; readonly fresh: boolean } {
    const key = JSON.stringify(content);
    const known = this.#names.get(key);
    if (known !== undefined) return { name: known, fresh: false };
    const name = this.#names.size === 0 ? this.#base : `${this.#base}-${this.#names.size + 1}`;
    this.#names.set(key, name);
    return { name, fresh: true };
  }
  all(): readonly string[] {
    return [...this.#names.values()];
  }
}

/** `plainVariables`: whether the kubelet takes quotes as a part of a variable's value. */
export function layOut(deliveries: readonly Delivery[], plainVariables = false): Layout {
  const formats = { FileKeyRef: plainVariables ? "FileKeyRefPlain" : "FileKeyRef", Helper: "Nul" } as const;
  const fileVolumes = new VolumeNames(FILES_VOLUME);
  const variableVolumes = new VolumeNames(VARIABLES_VOLUME);
  const files: AgentConfig["files"][number][] = [];
  const environments: AgentConfig["environments"][number][] = [];
  const additions = new Map<string, Addition>();
  for (const { container, directories, variables } of deliveries) {
    const parts: Addition[] = [];
    for (const [mountPath, delivered] of directories) {
      const volume = fileVolumes.take([mountPath, delivered.map(identityOf)]);
      if (volume.fresh) files.push(...delivered.map((d) => agentFile(volume.name, d)));
      parts.push({ mounts: [readOnly(volume.name, mountPath)], env: [], commandPrefix: [] });
    }
    for (const method of ["FileKeyRef", "Helper"] as const) {
      const chosen = variables.filter((variable) => variable.method === method);
      if (chosen.length === 0) continue;
      const volume = variableVolumes.take([method, chosen.map((v) => [v.owner.id, v.name])]);
      if (volume.fresh) environments.push(agentEnvironment(volume.name, formats[method], chosen));
      parts.push(method === "FileKeyRef" ? byKubelet(volume.name, chosen) : byHelper(volume.name));
    }
    additions.set(container.name, join(parts));
  }
  return {
    additions,
    volumes: [...fileVolumes.all(), ...variableVolumes.all()],
    files,
    environments,
    needsHelper: environments.some((environment) => environment.format === "Nul"),
  };
}

function identityOf({ owner, file }: DeliveredFile): readonly string[] {
  return [owner.id, file.path];
}

function readOnly(name: string, mountPath: string): JsonObject {
  return { name, mountPath, readOnly: true };
}

function join(parts: readonly Addition[]): Addition {
  return {
    mounts: parts.flatMap((part) => part.mounts),
    env: parts.flatMap((part) => part.env),
    commandPrefix: parts.flatMap((part) => part.commandPrefix),
  };
}

function agentFile(volume: string, { file }: DeliveredFile): AgentConfig["files"][number] {
  return { ...file, path: `${VOLUMES_DIRECTORY}/${volume}/${file.path}` };
}

function agentEnvironment(
  volume: string,
  format: AgentConfig["environments"][number]["format"],
  variables: readonly DeliveredVariable[],
): AgentConfig["environments"][number] {
  return {
    path: `${VOLUMES_DIRECTORY}/${volume}/${VARIABLES_FILE}`,
    format,
    variables: variables.map(({ name, source, key }) => ({ name, source: source.name, key })),
  };
}

/** The kubelet reads the file when it creates the container, which need not mount the volume. */
function byKubelet(volumeName: string, variables: readonly DeliveredVariable[]): Addition {
  const env = variables.map(({ name, source }) => ({
    name,
    valueFrom: {
      fileKeyRef: { volumeName, path: VARIABLES_FILE, key: name, ...(source.optional ? { optional: true } : {}) },
    },
  }));
  return { mounts: [], env, commandPrefix: [] };
}

function byHelper(volume: string): Addition {
  return {
    mounts: [readOnly(HELPER_VOLUME, HELPER_DIRECTORY), readOnly(volume, VARIABLES_DIRECTORY)],
    env: [],
    commandPrefix: [HELPER_IN_CONTAINER, "exec", `${VARIABLES_DIRECTORY}/${VARIABLES_FILE}`, "--"],
  };
}
