// `login`: a role id and a secret id for a token. Every refusal has one text, whatever was wrong, and a use of the
// secret id is counted in the transaction that makes the token. Wrong secret ids count against the role (lockout).
import { assertAddressAllowed, isWithin } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { LoginRefused } from "../../framework/login-refused.ts";
import { definePath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import { deleteSecret, type Role, readForLogin, type SecretRecord, updateSecret } from "./records.ts";
import { hasEnded } from "./secret-ids.ts";

const REFUSED = "invalid role or secret ID";

export const loginPath = definePath("login", {
  summary: "Login by role id and secret id.",
  access: "public",
  fields: { role_id: field.text("The role id."), secret_id: field.text("The secret id.") },
  operations: {
    update: { summary: "Log in.", handler: (context, { role_id, secret_id }) => login(context, role_id, secret_id) },
  },
});

async function login(context: Context, roleId: string | undefined, secretId: string | undefined): Promise<Reply> {
  if (!roleId) throw new CofferError("invalid_request", "missing role_id");
  const { remoteAddress } = context;
  const found = await readForLogin(context.storage, roleId, secretId ?? "");
  if (found === undefined) throw refused();
  const { role, name, hmac } = found;
  const secret = role.bindSecretId ? checkedSecret(context, role.roleId, secretId, found.secret) : undefined;
  if (role.secretIdBoundCidrs.length > 0 && !isWithin(role.secretIdBoundCidrs, remoteAddress))
    throw addressRefused(remoteAddress, "by CIDR restrictions on the role");
  const boundCidrs = secret && secret.tokenBoundCidrs.length > 0 ? secret.tokenBoundCidrs : role.token.boundCidrs;
  assertAddressAllowed(boundCidrs, remoteAddress);
  if (secret !== undefined) countUse(context, role, hmac, secret);
  return {
    grant: {
      displayName: "",
      policies: role.token.policies,
      metadata: { ...secret?.metadata, role_name: name },
      vouched: { role_name: name },
      aliasName: role.roleId,
      token: { ...role.token, boundCidrs },
    },
  };
}

function checkedSecret(
  context: Context,
  roleId: string,
  secretId: string | undefined,
  secret: SecretRecord | undefined,
): SecretRecord {
  if (!secretId) throw new CofferError("invalid_request", "missing secret_id");
  if (secret === undefined || hasEnded(secret, context)) throw new LoginRefused("invalid_request", REFUSED, roleId);
  if (secret.cidrs.length > 0 && !isWithin(secret.cidrs, context.remoteAddress))
    throw addressRefused(context.remoteAddress, "through CIDR restrictions on the secret ID");
  return secret;
}

function countUse({ storage, clock }: Context, role: Role, hmac: string, secret: SecretRecord): void {
  if (secret.numUses === 1) deleteSecret(storage, role.uid, hmac, secret);
  else if (secret.numUses > 1)
    updateSecret(storage, role.uid, hmac, { ...secret, numUses: secret.numUses - 1, updated: clock.now() });
}

function refused(): CofferError {
  return new CofferError("invalid_request", REFUSED);
}

function addressRefused(address: string, why: string): CofferError {
  return new CofferError("invalid_request", `source address "${address}" unauthorized ${why}`);
}
