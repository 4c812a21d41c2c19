// sys/policies/acl and its elder sys/policy.
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { pageOf } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { ROOT_POLICY } from "../policy/acl.ts";
import type { PolicyRecord } from "../policy/policy-kind.ts";
import { policyTextOf } from "../policy/policy-store.ts";
import type { SysServices } from "./services.ts";

const policyFields = {
  policy: withDefault(field.text("The policy's text, HCL or JSON, plain or base64."), ""),
  rules: withDefault(field.text("The old name of policy.", { deprecated: true }), ""),
  cas: field.integer("The version that the policy must have; 0 is none."),
} as const;

/** How one of the two shows policies. */
interface PolicyForm {
  readonly path: string;
  /** What the summaries say of it. */
  readonly note: string;
  list(names: readonly string[]): Reply;
  read(policy: PolicyRecord): Reply;
}

const forms: readonly PolicyForm[] = [
  {
    path: "policies/acl",
    note: "",
    list: (keys) => dataReply({ keys }),
    read: ({ name, text, version }) => dataReply({ name, policy: text, version }),
  },
  {
    path: "policy",
    note: ", in the old form",
    list: (keys) => ({ data: { keys, policies: keys }, repeatAtTop: true }),
    read: ({ name, text }) => ({ data: { name, rules: text }, repeatAtTop: true }),
  },
];

export function policyPaths(services: SysServices) {
  return forms.flatMap((form) => [listPath(form, services), policyPath(form, services)]);
}

function listPath({ path, note, list }: PolicyForm, { policies }: SysServices) {
  const handler = async ({ transaction, scope, page }: PrivilegedContext): Promise<Reply> => {
    const all = await policies.list(transaction);
    // No token of a namespace can have the policy "root".
    const names = all.filter((name) => scope.id === "" || name !== ROOT_POLICY);
    return list(pageOf(names, page));
  };
  const operation = { summary: "List policies.", handler };
  return definePrivilegedPath(path, {
    summary: `All policies${note}.`,
    operations: { list: operation, read: operation },
  });
}

function policyPath({ path, note, read }: PolicyForm, services: SysServices) {
  return definePrivilegedPath(`${path}/:name*`, {
    caseless: true,
    summary: `A policy${note}.`,
    fields: policyFields,
    operations: {
      read: {
        summary: "Show it.",
        handler: async (context, { name }) => {
          const policy = await services.policies.get(context.transaction, name);
          return policy && read(policy);
        },
      },
      update: { summary: "Write it.", handler: (context, values) => writePolicy(context, services, values) },
      delete: { summary: "Delete it.", handler: (context, { name }) => deletePolicy(context, services, name) },
    },
  });
}

async function writePolicy(
  context: PrivilegedContext,
  { policies }: SysServices,
  values: { name: string; policy: string; rules: string; cas: number | undefined },
): Promise<Reply> {
  const text = policyTextOf(values.policy || values.rules);
  const record = await policies.set(context.transaction, values.name, text, values.cas);
  const warnings = [
    ...(values.policy === "" && values.rules !== "" ? ["'rules' is deprecated, please use 'policy' instead"] : []),
    ...(record.name !== values.name ? [`policy name was converted to ${record.name}`] : []),
  ];
  return warnings.length > 0 ? { warnings } : noContent;
}

function deletePolicy(context: PrivilegedContext, { policies }: SysServices, name: string): Reply {
  policies.delete(context.transaction, name);
  return noContent;
}
