// What is to be done to a pod, whoever asks for it: SecretBindings (from-bindings.ts) or the annotations of vault-k8s
// (vault/). Both fill this in; containers, volumes and patch are made from it in one place (patch.ts).
import type { AgentConfig } from "#common/agent-config.ts";
import type { JsonObject } from "#common/json.ts";
import type { Delivery } from "./deliveries.ts";
import type { NamedPatch } from "./json-patch.ts";

/** The agent's container, where pods may differ. */
export interface AgentShape {
  /** Undefined: the cluster assigns users (OpenShift's security context constraints). */
  readonly user: number | undefined;
  readonly group: number | undefined;
  readonly resources: JsonObject;
  /** Whether the pod's containers wait until everything is there. */
  readonly isGate: boolean;
  readonly env: readonly JsonObject[];
  readonly mounts: readonly JsonObject[];
  /** Of the pod, for `mounts`. */
  readonly volumes: readonly JsonObject[];
  /** Changes to the finished container. */
  readonly patch: NamedPatch | undefined;
}

/** The token that the agent logs in with. */
export type LoginToken =
  | {
      readonly kind: "own";
      /** Undefined: that of the API server. */
      readonly audience: string | undefined;
    }
  /** A projected volume that the pod has already. */
  | { readonly kind: "volume"; readonly name: string };

export interface Injection {
  readonly deliveries: readonly Delivery[];
  /** All but what the layout gives. */
  readonly config: Omit<AgentConfig, "files" | "environments">;
  readonly agent: AgentShape;
  readonly token: LoginToken;
  /** ConfigMap with the CA of the server, if it has its own. */
  readonly caBundle: string | undefined;
  /** Before the pod's own init containers, or after them. */
  readonly position: "First" | "Last";
  /** Members to set in the pod's spec. */
  readonly spec: JsonObject;
  /** Added to the pod's. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
  /** Names what is delivered, for the sentence that it is too much. */
  readonly title: string;
}
