// The names that token fields had before they began with "token_". Clients still send them; the new name wins.
import { field, policyNames, type Values } from "./fields.ts";
import type { tokenFields } from "./token-parameters.ts";

const old = { deprecated: true };

/** Each auth method takes those that it has always had. */
export const tokenAliases = {
  policies: field.list("Use token_policies.", { ...old, ...policyNames }),
  ttl: field.seconds("Use token_ttl.", old),
  max_ttl: field.seconds("Use token_max_ttl.", old),
  period: field.seconds("Use token_period.", old),
  num_uses: field.integer("Use token_num_uses.", old),
  bound_cidrs: field.list("Use token_bound_cidrs.", old),
} as const;

type TokenValues = Values<typeof tokenFields>;
type Sent = { readonly [K in keyof TokenValues]?: TokenValues[K] } & {
  readonly [K in keyof Values<typeof tokenAliases>]?: Values<typeof tokenAliases>[K];
};

/** The token fields of what was sent, the old names counted where the new ones are missing. */
export function tokenValues(sent: Sent): TokenValues {
  return {
    token_ttl: sent.token_ttl ?? sent.ttl,
    token_max_ttl: sent.token_max_ttl ?? sent.max_ttl,
    token_policies: sent.token_policies ?? sent.policies,
    token_bound_cidrs: sent.token_bound_cidrs ?? sent.bound_cidrs,
    token_explicit_max_ttl: sent.token_explicit_max_ttl,
    token_no_default_policy: sent.token_no_default_policy,
    token_num_uses: sent.token_num_uses ?? sent.num_uses,
    token_period: sent.token_period ?? sent.period,
    token_type: sent.token_type,
    token_strictly_bind_ip: sent.token_strictly_bind_ip,
    token_boundary_policies: sent.token_boundary_policies,
  };
}
