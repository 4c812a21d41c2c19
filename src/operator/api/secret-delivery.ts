// The part of a SecretBinding that keeps a Kubernetes Secret: for what can read nothing else, such as an Ingress, an image
// pull, somebody else's chart. What the operator then does is in controllers/secret-binding/delivery.
import { duration } from "./duration.ts";
import {
  choice,
  type Field,
  flag,
  type Infer,
  list,
  map,
  message,
  object,
  optional,
  text,
  time,
  withDefault,
} from "./fields.ts";
import { objectName } from "./references.ts";

/** Templates of one Secret together stay far below the API server's limit of an object. */
const TEMPLATE_LENGTH_MAX = 16_384;
/** A Secret holds a megabyte; so many keys are a mistake. */
const KEYS_MAX = 128;
const METADATA_MAX = 32;

/** Of the data of Secrets and ConfigMaps, as the API server checks it. */
const dataKey = text("The key in the Kubernetes Secret.", 253, [
  {
    rule: "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
    message: "a key of a Kubernetes Secret may hold letters, digits, - _ and ., and not two dots at its beginning",
  },
]);

const entry = (sourceName: Field<string | undefined>) =>
  object(
    "A key of the Kubernetes Secret.",
    {
      key: dataKey,
      source: sourceName,
      from: optional(text("The key of the source whose value it gets; left out, the one of the same name.", 256)),
      template: optional(
        text(
          "What makes its value instead, in the language of files with format Template; the dot holds the keys of the source, when there is one.",
          TEMPLATE_LENGTH_MAX,
        ),
      ),
      decode: withDefault(
        choice("Base64 decodes the value before it is written: for keystores and other bytes.", ["None", "Base64"]),
        "None",
      ),
    },
    [{ rule: "!has(self.from) || !has(self.template)", message: "set either from or template: both make the value" }],
  );

const target = object("A workload of the namespace.", {
  kind: choice("Its kind.", ["Deployment", "StatefulSet", "DaemonSet"]),
  name: objectName("Its name."),
});

const clockTime = (description: string) =>
  text(description, 5, [
    { rule: "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')", message: 'write the time as "22:00", in UTC' },
  ]);

const restart = object("Workloads that are restarted when the content has changed, as by kubectl rollout restart.", {
  targets: list("The workloads.", target, { min: 1, max: 16, keys: ["kind", "name"] }),
  minInterval: withDefault(
    duration("The shortest time between two restarts; changes in between wait and become one.", [
      {
        rule: "!self.matches('^([0-9]{1,9}[smh])+$') || duration(self) >= duration('10s')",
        message: "set minInterval to 10s or more",
      },
    ]),
    "5m",
  ),
  window: optional(
    object("Restarts happen only then; a change outside of it waits.", {
      days: optional(
        list(
          "Days on which it begins; left out, every day.",
          choice("A day.", ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
          {
            min: 1,
            max: 7,
            set: true,
          },
        ),
      ),
      start: clockTime("Its beginning, in UTC."),
      end: clockTime("Its end, in UTC; before its beginning it is on the next day."),
    }),
  ),
});

const metadataMap = (description: string, item: string, max: number) =>
  withDefault(
    map(description, message(item, max), METADATA_MAX, [
      {
        rule: "self.all(name, !name.startsWith('coffer.dev/') && !name.contains('kubernetes.io/'))",
        message: "names of coffer.dev and kubernetes.io have a meaning of their own and cannot be set here",
      },
    ]),
    {},
  );

/**
 * The member as one value to server-side apply. Otherwise `secret: {}`, applied a second time, is taken for nothing at
 * all: its manager owns no member of it, and what defaults filled in is nobody's (seen with 1.34).
 */
export function atomic<T>(inner: Field<T>): Field<T> {
  return { ...inner, openapi: { ...inner.openapi, "x-kubernetes-map-type": "atomic" } };
}

/** `spec.secret`, given how a source is named there. */
export const secretTarget = (sourceName: Field<string | undefined>) =>
  object(
    "A Kubernetes Secret of this namespace that is kept up to date.",
    {
      name: optional(objectName("Its name; left out, the binding's.")),
      serviceAccountName: withDefault(
        objectName("The ServiceAccount as which the secrets are read; the operator takes a token of it for that."),
        "default",
      ),
      type: withDefault(
        text("Type of the Secret.", 253, [
          {
            rule: "self != 'kubernetes.io/service-account-token' && self != 'bootstrap.kubernetes.io/token'",
            message: "choose another type: Secrets of this one are ways into Kubernetes and are not made here",
          },
        ]),
        "Opaque",
      ),
      creationPolicy: withDefault(
        choice(
          "Owner: made here, and goes with the binding. Orphan: made here, without an owner. Merge: keys of a Secret that is there already.",
          ["Owner", "Orphan", "Merge"],
        ),
        "Owner",
      ),
      deletionPolicy: withDefault(
        choice("Whether what was made here is removed with the binding, or stays.", ["Delete", "Retain"]),
        "Delete",
      ),
      immutable: withDefault(
        flag("Kubernetes lets nobody change it; a new content is a new Secret of the name."),
        false,
      ),
      labels: metadataMap("Labels of the Secret.", "Value of the label.", 63),
      annotations: metadataMap("Annotations of the Secret.", "Value of the annotation.", 4096),
      data: withDefault(
        list("The keys it has; left out, every key of every source.", entry(sourceName), {
          max: KEYS_MAX,
          keys: ["key"],
        }),
        [],
      ),
      restart: optional(restart),
    },
    [
      {
        rule: "self.creationPolicy != 'Merge' || (self.type == 'Opaque' && !self.immutable)",
        message: "with creationPolicy Merge the Secret is somebody else's: leave type and immutable out",
      },
    ],
  );

/** `status.secret`. */
export const secretState = object("The Kubernetes Secret as last written.", {
  name: text("Its name.", 253),
  version: text("Its resourceVersion then: another one means that somebody changed it.", 64),
  contentMAC: text("A keyed MAC of what it should hold, which tells a change and nothing else.", 128),
  changedAt: time("When its content last changed."),
  restartedMAC: optional(text("The content that the restart targets run with.", 128)),
  restartedAt: optional(time("When they were last restarted.")),
});

export type SecretTarget = Infer<ReturnType<typeof secretTarget>>;
export type SecretState = Infer<typeof secretState>;
export type RestartWindow = NonNullable<NonNullable<SecretTarget["restart"]>["window"]>;
