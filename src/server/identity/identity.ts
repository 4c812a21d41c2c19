// The identity seam: who is behind a token, over all auth methods. The core asks these questions; the store answers.
import type { Transaction } from "../barrier/transaction.ts";

/** A login as an auth method knows it. */
export interface LoginAlias {
  readonly mountAccessor: string;
  readonly mountPath: string;
  readonly mountType: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The user's groups as the auth method knows them; decides the external groups of this mount. Undefined: says nothing. */
  readonly groupNames?: readonly string[] | undefined;
}

/** What policies and templates need of an entity; valid within the transaction it was read in. */
export interface EntityView {
  readonly id: string;
  readonly disabled: boolean;
  /** Of the entity and of all groups it is in. */
  readonly policies: readonly string[];
  /** Changes whenever anything that `resolve` or `policies` answers changes. */
  readonly version: string;
  /** Value of a template variable such as "identity.entity.name". */
  resolve(variable: string): string | undefined;
}

export interface Identity {
  /** Id of the alias's entity; makes both on the first login. Throws `permission_denied` when the entity is disabled. */
  entityForLogin(tx: Transaction, alias: LoginAlias): Promise<string>;
  /** An entity that was deleted is seen as a disabled one, so that its tokens end with it. */
  view(tx: Transaction, entityId: string): Promise<EntityView | undefined>;
}
