// What a token may do in a namespace: by the policies and the identity of its own namespace, which must be that one or
// one above it.
import type { Transaction } from "../barrier/transaction.ts";
import type { EntityView, Identity } from "../identity/identity.ts";
import type { Acl } from "../policy/acl.ts";
import type { PolicyStore } from "../policy/policy-store.ts";
import { scopeAcl } from "../policy/scoped-acl.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { ownView } from "../tokens/token-store.ts";
import { type NamespaceScope, pathFrom } from "./namespace-scope.ts";

export interface RightsServices {
  readonly policies: PolicyStore;
  readonly identity: Identity;
}

/** The entity behind a token; undefined when there is none. */
export async function entityOf(
  tx: Transaction,
  { identity }: Pick<RightsServices, "identity">,
  token: TokenRecord,
): Promise<EntityView | undefined> {
  return token.entityId === "" ? undefined : identity.view(ownView(tx, token), token.entityId);
}

/** The ACL of a token in a namespace; undefined where it has none, because it is of a namespace below or beside. */
export async function aclIn(
  scope: NamespaceScope,
  tx: Transaction,
  { policies }: Pick<RightsServices, "policies">,
  token: TokenRecord,
  entity: EntityView | undefined,
): Promise<Acl | undefined> {
  const prefix = pathFrom(scope, token.namespace);
  if (prefix === undefined) return undefined;
  return scopeAcl(await policies.aclOfToken(ownView(tx, token), token, entity), prefix);
}

/** The same, part by part, for explaining. */
export async function aclPartsIn(
  scope: NamespaceScope,
  tx: Transaction,
  { policies }: Pick<RightsServices, "policies">,
  token: TokenRecord,
  entity: EntityView | undefined,
): Promise<readonly Acl[]> {
  const prefix = pathFrom(scope, token.namespace);
  if (prefix === undefined) return [];
  return (await policies.aclPartsOfToken(ownView(tx, token), token, entity)).map((acl) => scopeAcl(acl, prefix));
}
