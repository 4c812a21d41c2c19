// Which policies a new token gets. Rights never grow: without sudo on the path a child has no policy that its parent
// lacks, "default" included, unless a role has a list of its own.
import { CofferError } from "#common/errors.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { permissionDenied } from "../../framework/multi-error.ts";
import { normalizePolicyNames } from "../../framework/token-parameters.ts";
import { ROOT_POLICY } from "../../policy/acl.ts";
import { DEFAULT_POLICY } from "../../policy/builtin-policies.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import { isDisallowed, policiesOfRole, type TokenRole } from "./token-role.ts";

interface Asked {
  readonly policies?: readonly string[] | undefined;
  readonly no_default_policy?: boolean | undefined;
}

/** The policies of a new token in their stored form. Throws `invalid_request` and `permission_denied`. */
export function policiesOf(
  context: PrivilegedContext,
  values: Asked,
  parent: TokenRecord,
  role: TokenRole | undefined,
): readonly string[] {
  const asked = normalizePolicyNames(values.policies ?? []);
  const noDefault = values.no_default_policy === true || role?.noDefaultPolicy === true;
  const addDefault = !noDefault && !(role && isDisallowed(role, DEFAULT_POLICY));
  const isListed = role !== undefined && role.allowedPolicies.length + role.allowedPoliciesGlob.length > 0;
  const names = isListed
    ? policiesOfRole(role, asked, addDefault)
    : policiesOfChild(context, asked, parent, {
        addDefault,
        hasRole: role !== undefined,
        isBlank: asked.length === 0 && (values.policies ?? []).length > 0,
      });
  const policies = noDefault ? names.filter((name) => name !== DEFAULT_POLICY) : names;
  const refused = role && policies.find((name) => isDisallowed(role, name));
  if (refused !== undefined) throw invalid(`token policy "${refused}" is disallowed by this role`);
  return policies;
}

function policiesOfChild(
  { scope, hasSudo }: PrivilegedContext,
  asked: readonly string[],
  parent: TokenRecord,
  { addDefault, hasRole, isBlank }: { addDefault: boolean; hasRole: boolean; isBlank: boolean },
): readonly string[] {
  const withDefault = (names: readonly string[], add: boolean) =>
    normalizePolicyNames([...names, ...(add && addDefault ? [DEFAULT_POLICY] : [])]);
  // A policy's name means something else in another namespace: nothing is inherited there.
  if (parent.namespace !== scope.id) return asked.includes(ROOT_POLICY) ? [ROOT_POLICY] : withDefault(asked, true);
  // A list of nothing but blanks asks for no policy; only no list asks for the parent's.
  const inherit = asked.length === 0 && !isBlank;
  const wanted = inherit ? parent.policies : asked;
  if (wanted.includes(ROOT_POLICY)) return rootOf(parent, hasSudo);
  if (inherit) return withDefault(wanted, hasRole && (hasSudo || parent.policies.includes(DEFAULT_POLICY)));
  if (hasSudo) return withDefault(wanted, true);
  if (!wanted.every((name) => parent.policies.includes(name))) throw invalid("child policies must be subset of parent");
  return withDefault(wanted, parent.policies.includes(DEFAULT_POLICY));
}

/** Root has no other policy beside it. */
function rootOf(parent: TokenRecord, hasSudo: boolean): readonly string[] {
  if (parent.policies.includes(ROOT_POLICY)) return [ROOT_POLICY];
  if (!hasSudo) throw permissionDenied();
  throw invalid("root tokens may not be created without parent token being root");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
