// What the injector is told about itself and its cluster; nothing of it comes from a pod.
export interface InjectorSettings {
  /** Coffer's image, for the agent and the helper. */
  readonly image: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  /** Whether the cluster's kubelets read variables from files (Kubernetes 1.35, or 1.34 with the gate EnvFiles). */
  readonly fileKeyRef: boolean;
  /** Whether they take quotes in such files as a part of the value, as those of 1.34 do. */
  readonly plainVariables?: boolean | undefined;
  /** Whether it assigns users to pods and refuses those that choose another (OpenShift). */
  readonly assignsUsers?: boolean | undefined;
}
