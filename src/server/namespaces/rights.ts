// What a token may do in a namespace: by the policies and the identity of its own namespace, which must be that one or
// one above it.
import type { Transaction } from "../barrier/transaction.ts";
import type { NamespaceScope } from "../framework/context.ts";
import type { EntityView, Identity } from "../identity/identity.ts";
import { type Acl, compileAcl } from "../policy/acl.ts";
import type { PolicyStore } from "../policy/policy-store.ts";
import { liftAcl, scopeAcl } from "../policy/scoped-acl.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { ownView } from "../tokens/token-store.ts";
import { pathFrom, pathOfNamespace } from "./namespace-scope.ts";

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

/** The ACL of a token as paths of the namespace name what it may do: for telling, of tokens further below as well. */
export async function aclSeenFrom(
  scope: NamespaceScope,
  tx: Transaction,
  { policies }: Pick<RightsServices, "policies">,
  token: TokenRecord,
  entity: EntityView | undefined,
): Promise<Acl> {
  const see = await viewpoint(scope, tx, token);
  return see(await policies.aclOfToken(ownView(tx, token), token, entity));
}

/** The same, part by part, for explaining. */
export async function aclPartsSeenFrom(
  scope: NamespaceScope,
  tx: Transaction,
  { policies }: Pick<RightsServices, "policies">,
  token: TokenRecord,
  entity: EntityView | undefined,
): Promise<readonly Acl[]> {
  const see = await viewpoint(scope, tx, token);
  return (await policies.aclPartsOfToken(ownView(tx, token), token, entity)).map(see);
}

async function viewpoint(
  scope: NamespaceScope,
  tx: Transaction,
  { namespace }: TokenRecord,
): Promise<(acl: Acl) => Acl> {
  const prefix = pathFrom(scope, namespace);
  if (prefix !== undefined) return (acl) => scopeAcl(acl, prefix);
  const path = await pathOfNamespace(tx, namespace);
  if (path === undefined || !path.startsWith(scope.path)) return () => compileAcl([]);
  return (acl) => liftAcl(acl, path.slice(scope.path.length));
}
