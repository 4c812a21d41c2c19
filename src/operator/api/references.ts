// Fields that several kinds share: names of Kubernetes objects, references, selectors, amounts of resources.
import {
  choice,
  type Infer,
  list,
  map,
  message,
  object,
  optional,
  quantity,
  type Rule,
  text,
  withDefault,
} from "./fields.ts";

const NAME_RULE: Rule = {
  rule: "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
  message:
    "write the name of a Kubernetes object: lower case letters, digits, - and ., beginning and ending with a letter or digit",
};

/** A DNS subdomain holds at most 253 characters (RFC 1123). */
export const objectName = (description: string) => text(description, 253, [NAME_RULE]);

/** Namespaces and containers are DNS labels: at most 63 characters. */
export const labelName = (description: string) =>
  text(description, 63, [
    {
      rule: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
      message: "use lower case letters, digits and -, beginning and ending with a letter or digit",
    },
  ]);

/** An object of the same namespace. */
export const localRef = (description: string, name: string) => object(description, { name: objectName(name) });

const matchLabels = map("Labels that the object must have.", message("The label's value.", 63), 32);

/** Pods by their labels: equality only, so that one sees what it matches. */
export const podSelector = (description: string) => object(description, { matchLabels: withDefault(matchLabels, {}) });

const labelExpression = object("A condition on one label.", {
  key: text("The label.", 317),
  operator: choice("How to compare.", ["In", "NotIn", "Exists", "DoesNotExist"]),
  values: optional(list("What to compare with.", message("A value.", 63), { max: 32, set: true })),
});

export const labelSelector = (description: string) =>
  object(description, {
    matchLabels: withDefault(matchLabels, {}),
    matchExpressions: withDefault(list("Conditions that must all hold.", labelExpression, { max: 16 }), []),
  });
export type LabelSelector = Infer<ReturnType<typeof labelSelector>>;

/** Whether labels satisfy a selector; an empty selector is satisfied by all. */
export function matchesSelector(
  selector: { readonly matchLabels: Readonly<Record<string, string>> } & Partial<LabelSelector>,
  labels: Readonly<Record<string, string>>,
): boolean {
  const equal = Object.entries(selector.matchLabels).every(([key, value]) => labels[key] === value);
  return equal && (selector.matchExpressions ?? []).every((e) => matchesExpression(e, labels));
}

function matchesExpression(
  { key, operator, values = [] }: LabelSelector["matchExpressions"][number],
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  if (operator === "Exists") return value !== undefined;
  if (operator === "DoesNotExist") return value === undefined;
  const among = value !== undefined && values.includes(value);
  return operator === "In" ? among : !among;
}

const computeResources = (description: string) =>
  object(description, {
    requests: optional(map("What is set aside for it.", quantity("An amount."), 8)),
    limits: optional(map("What it can have at most.", quantity("An amount."), 8)),
  });

export const resources = computeResources(
  "Compute resources of the server's container. Its memory limit bounds the number of worker processes: one for each core, as far as it is enough for 192 MiB each and 96 besides.",
);

export const etcdResources = computeResources("Compute resources of each etcd member.");
