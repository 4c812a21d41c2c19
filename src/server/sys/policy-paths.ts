// sys/policies/acl and its elder sys/policy: writing, showing and listing policies; sys/policies/detailed/acl lists them
// with their texts.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, type Values, withDefault } from "../framework/fields.ts";
import { folderPrefix, pageOf } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { ROOT_POLICY } from "../policy/acl.ts";
import type { PolicyRecord } from "../policy/policy-kind.ts";
import { policyTextOf } from "../policy/policy-store.ts";
import type { PolicyWrite } from "../policy/policy-write.ts";
import type { SysServices } from "./services.ts";

const policyFields = {
  policy: withDefault(field.text("The policy's text, HCL or JSON, plain or base64."), ""),
  rules: withDefault(field.text("The old name of policy.", { deprecated: true }), ""),
  cas: field.integer("The version that the policy must have; 0 or -1 is none."),
  cas_required: field.flag("The next write must name the version."),
  ttl: field.seconds("How long the policy counts; for ever by default."),
  expiration: field.text("Until when the policy counts, as 2030-01-31T12:00:00Z; instead of ttl."),
  allow_wildcards_in_identity_templates: field.flag("Values of templates may hold * and +."),
  allow_slashes_in_identity_templates: field.flag("Values of templates may hold /."),
} as const;
type PolicyValues = Values<typeof policyFields> & { readonly name: string };

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
    read: (policy) => dataReply({ policy: policy.text, ...described(policy) }),
  },
  {
    path: "policy",
    note: ", in the old form",
    list: (keys) => ({ data: { keys, policies: keys }, repeatAtTop: true }),
    read: (policy) => ({ data: { rules: policy.text, ...described(policy) }, repeatAtTop: true }),
  },
];

/** A policy without its text. */
function described({ name, version, modified, ...policy }: PolicyRecord): JsonObject {
  return {
    name,
    version,
    ...(modified !== "" && { modified }),
    cas_required: policy.casRequired ?? false,
    ...(policy.expiresAtMillis !== undefined && { expiration: new Date(policy.expiresAtMillis).toISOString() }),
    allow_wildcards_in_identity_templates: policy.allowWildcards ?? false,
    allow_slashes_in_identity_templates: policy.allowSlashes ?? false,
  };
}

export function policyPaths(services: SysServices) {
  return [
    ...forms.flatMap((form) => [listPath(form, services), policyPath(form, services)]),
    ...detailedPaths(services),
  ];
}

function listPath({ path, note, list }: PolicyForm, services: SysServices) {
  const handler = async (context: PrivilegedContext): Promise<Reply> => list(await namesBelow(context, services, ""));
  const operation = { summary: "List policies.", handler };
  return definePrivilegedPath(path, {
    summary: `All policies${note}.`,
    operations: { list: operation, read: operation },
  });
}

/** A page of the names that begin with a folder; "" for all. */
async function namesBelow(
  { transaction, scope, page }: PrivilegedContext,
  { policies }: SysServices,
  folder: string,
): Promise<readonly string[]> {
  const prefix = folderPrefix(folder.toLowerCase());
  const all = await policies.list(transaction);
  // No token of a namespace can have the policy "root".
  const names = all.filter((name) => name.startsWith(prefix) && (scope.id === "" || name !== ROOT_POLICY));
  return pageOf(names, page);
}

function policyPath(form: PolicyForm, services: SysServices) {
  const { path, note, read, list } = form;
  return definePrivilegedPath(`${path}/:name*`, {
    caseless: true,
    summary: `A policy${note}.`,
    fields: policyFields,
    operations: {
      list: {
        summary: "List the policies whose names begin with this and a slash.",
        handler: async (context, { name }) => {
          const names = await namesBelow(context, services, name);
          return names.length === 0 ? undefined : list(names);
        },
      },
      read: {
        summary: "Show it.",
        handler: async (context, { name }) => {
          const policy = await services.policies.get(context.transaction, name);
          return policy && read(policy);
        },
      },
      update: { summary: "Write it.", handler: (context, values) => writePolicy(context, services, values) },
      ...(form === forms[0] && {
        patch: {
          summary: "Change what is sent of it, and leave the rest.",
          handler: (context: PrivilegedContext, values: PolicyValues) => patchPolicy(context, services, values),
        },
      }),
      delete: { summary: "Delete it.", handler: (context, { name }) => deletePolicy(context, services, name) },
    },
  });
}

function detailedPaths(services: SysServices) {
  const detailed = async (context: PrivilegedContext, folder: string): Promise<Reply | undefined> => {
    const keys = await namesBelow(context, services, folder);
    if (keys.length === 0) return undefined;
    const found = await Promise.all(keys.map((name) => services.policies.get(context.transaction, name)));
    const infos = found.filter((policy) => policy !== undefined);
    const info = infos.map((policy) => [policy.name, { policy: policy.text, ...described(policy) }] as const);
    return dataReply({ keys, key_info: Object.fromEntries(info) });
  };
  const all = { summary: "List policies.", handler: (context: PrivilegedContext) => detailed(context, "") };
  const below = {
    summary: "List the policies whose names begin with this and a slash.",
    handler: (context: PrivilegedContext, { name }: { name: string }) => detailed(context, name),
  };
  return [
    definePrivilegedPath("policies/detailed/acl", {
      summary: "All policies with their texts.",
      operations: { list: all, read: all },
    }),
    definePrivilegedPath("policies/detailed/acl/:name*", {
      caseless: true,
      summary: "Policies with their texts.",
      operations: { list: below, read: below },
    }),
  ];
}

async function writePolicy(
  { transaction, clock }: PrivilegedContext,
  { policies }: SysServices,
  values: PolicyValues,
): Promise<Reply> {
  const text = policyTextOf(values.policy || values.rules);
  const record = await policies.set(transaction, values.name, text, { ...sentOf(values, clock.now()) });
  const warnings = [
    ...(values.policy === "" && values.rules !== "" ? ["'rules' is deprecated, please use 'policy' instead"] : []),
    ...(record.name !== values.name ? [`policy name was converted to ${record.name}`] : []),
  ];
  return warnings.length > 0 ? { warnings } : noContent;
}

/** Lays what was sent over what is there; `null` takes an end away. A policy is not made by this. */
async function patchPolicy(
  { transaction, clock, data }: PrivilegedContext,
  { policies }: SysServices,
  values: PolicyValues,
): Promise<Reply | undefined> {
  const before = await policies.get(transaction, values.name);
  if (!before) return undefined;
  const { text, casRequired, expiresAtMillis, allowWildcards, allowSlashes } = before;
  const kept = {
    ...(casRequired !== undefined && { casRequired }),
    ...(expiresAtMillis !== undefined && { expiresAtMillis }),
    ...(allowWildcards !== undefined && { allowWildcards }),
    ...(allowSlashes !== undefined && { allowSlashes }),
  };
  const endless = data["expiration"] === null || data["ttl"] === null;
  const wanted = { ...kept, ...(endless && { expiresAtMillis: undefined }), ...sentOf(values, clock.now()) };
  const sent = values.policy || values.rules;
  await policies.set(transaction, values.name, sent === "" ? text : policyTextOf(sent), wanted);
  return noContent;
}

/** What was sent besides the text. Throws `invalid_request`. */
function sentOf(values: PolicyValues, now: number): Omit<PolicyWrite, "text"> {
  const expiresAtMillis = endOf(values, now);
  const wildcards = values.allow_wildcards_in_identity_templates;
  const slashes = values.allow_slashes_in_identity_templates;
  return {
    cas: values.cas,
    ...(values.cas_required !== undefined && { casRequired: values.cas_required }),
    ...(expiresAtMillis !== undefined && { expiresAtMillis }),
    ...(wildcards !== undefined && { allowWildcards: wildcards }),
    ...(slashes !== undefined && { allowSlashes: slashes }),
  };
}

function endOf({ ttl, expiration }: PolicyValues, now: number): number | undefined {
  if (ttl !== undefined && expiration !== undefined) throw invalid("ttl and expiration cannot both be given");
  if (ttl !== undefined) {
    if (ttl > 0) return now + ttl * 1000;
    throw invalid("ttl must be longer than nothing");
  }
  if (expiration === undefined) return undefined;
  const millis = Date.parse(expiration);
  if (Number.isNaN(millis) || !expiration.includes("T"))
    throw invalid('expiration must be a time such as "2030-01-31T12:00:00Z"');
  return millis;
}

function deletePolicy(context: PrivilegedContext, { policies }: SysServices, name: string): Reply {
  policies.delete(context.transaction, name);
  return noContent;
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
