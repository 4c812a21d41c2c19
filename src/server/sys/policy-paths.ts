// sys/policies/acl and its elder sys/policy.
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { pageOf } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { ROOT_POLICY } from "../policy/acl.ts";
import { policyTextOf } from "../policy/policy-store.ts";
import type { SysServices } from "./services.ts";

const policyFields = {
  policy: withDefault(field.text("The policy's text, HCL or JSON, plain or base64."), ""),
  rules: withDefault(field.text("The old name of policy.", { deprecated: true }), ""),
  cas: field.integer("The version that the policy must have; 0 is none."),
} as const;

export function policyPaths(services: SysServices) {
  const { policies } = services;
  // No token of a namespace can have the policy "root".
  const names = async ({ transaction, scope }: PrivilegedContext) =>
    (await policies.list(transaction)).filter((name) => scope.id === "" || name !== ROOT_POLICY);
  const list = async (context: PrivilegedContext): Promise<Reply> =>
    dataReply({ keys: pageOf(await names(context), context.page) });
  const old = async (context: PrivilegedContext): Promise<Reply> => {
    const keys = pageOf(await names(context), context.page);
    return { data: { keys, policies: keys }, repeatAtTop: true };
  };
  return [
    definePrivilegedPath("policies/acl", {
      summary: "All policies.",
      operations: {
        list: { summary: "List policies.", handler: list },
        read: { summary: "List policies.", handler: list },
      },
    }),
    definePrivilegedPath("policies/acl/:name*", {
      caseless: true,
      summary: "A policy.",
      fields: policyFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async (context, { name }) => {
            const policy = await policies.get(context.transaction, name);
            return policy && dataReply({ name: policy.name, policy: policy.text, version: policy.version });
          },
        },
        update: { summary: "Write it.", handler: (context, values) => writePolicy(context, services, values) },
        delete: { summary: "Delete it.", handler: (context, { name }) => deletePolicy(context, services, name) },
      },
    }),
    definePrivilegedPath("policy", {
      summary: "All policies, in the old form.",
      operations: {
        list: { summary: "List policies.", handler: old },
        read: { summary: "List policies.", handler: old },
      },
    }),
    definePrivilegedPath("policy/:name*", {
      caseless: true,
      summary: "A policy, in the old form.",
      fields: policyFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: async (context, { name }) => {
            const policy = await policies.get(context.transaction, name);
            return policy && { data: { name: policy.name, rules: policy.text }, repeatAtTop: true };
          },
        },
        update: { summary: "Write it.", handler: (context, values) => writePolicy(context, services, values) },
        delete: { summary: "Delete it.", handler: (context, { name }) => deletePolicy(context, services, name) },
      },
    }),
  ];
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
