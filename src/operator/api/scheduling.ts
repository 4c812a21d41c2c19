// Where the pods of a VaultCluster run, and what is added to them.
import { choice, integer, list, map, message, object, optional, text, withDefault } from "./fields.ts";
import { objectName } from "./references.ts";

const spreadConstraint = object("How evenly pods are spread over a kind of place.", {
  topologyKey: text("The nodes' label that tells the place, such as topology.kubernetes.io/zone.", 317),
  maxSkew: withDefault(integer("By how many pods places may differ.", 1, 64), 1),
  whenUnsatisfiable: withDefault(
    choice("What to do with a pod that no place fits.", ["ScheduleAnyway", "DoNotSchedule"]),
    "ScheduleAnyway",
  ),
});

const toleration = object("A taint that the pods bear.", {
  key: optional(text("The taint's key; left out with operator Exists, all.", 317)),
  operator: optional(choice("How the value is compared.", ["Exists", "Equal"])),
  value: optional(message("The taint's value.", 253)),
  effect: optional(choice("The taint's effect; left out, all.", ["NoSchedule", "PreferNoSchedule", "NoExecute"])),
  tolerationSeconds: optional(integer("How long a NoExecute taint is borne.", 0, 1_000_000_000)),
});

export const scheduling = object("Where pods run, those of the servers and those of etcd members alike.", {
  antiAffinity: withDefault(
    choice(
      "Whether pods of the same sort keep to different nodes: `Preferred` where that can be, `Required` or not at all, `None` wherever there is room.",
      ["Preferred", "Required", "None"],
    ),
    "Preferred",
  ),
  topologySpread: withDefault(
    list("How pods of the same sort are spread.", spreadConstraint, { max: 8, keys: ["topologyKey"] }),
    [{ topologyKey: "topology.kubernetes.io/zone" }],
  ),
  nodeSelector: optional(map("Labels that a node must have.", message("The label's value.", 63), 32)),
  tolerations: optional(list("Taints that the pods bear.", toleration, { max: 32 })),
  priorityClassName: optional(objectName("The pods' priority class.")),
});

export const podTemplate = object("Additions to the server pods.", {
  labels: withDefault(map("Labels; those of the operator win.", message("The label's value.", 63), 32), {}),
  annotations: withDefault(
    map("Annotations; those of the operator win.", message("The annotation's value.", 4096), 32),
    {},
  ),
  serviceAccountAnnotations: withDefault(
    map(
      "Annotations of the servers' ServiceAccount, such as `eks.amazonaws.com/role-arn`.",
      message("The annotation's value.", 4096),
      32,
    ),
    {},
  ),
});
