// KMS operations on aliases (KMS API reference).
import type { JsonObject } from "#common/json.ts";
import type { AccessControl } from "./access.ts";
import { AwsError } from "./aws-error.ts";
import type { Operation } from "./json-service.ts";
import { optionalText, text } from "./kms-input.ts";
import type { KeyStore } from "./kms-keys.ts";

/** "must begin with alias/ ... contain only alphanumeric characters, forward slashes (/), underscores, and dashes" */
const ALIAS = /^alias\/[a-zA-Z0-9/_-]{1,250}$/;

export function manageAliases(store: KeyStore, access: AccessControl): Record<string, Operation> {
  const existing = (input: JsonObject): string => {
    const alias = aliasName(input);
    if (store.aliases.has(alias)) return alias;
    throw new AwsError("NotFoundException", `Alias ${store.aliasArn(alias)} is not found.`);
  };
  return {
    CreateAlias: (input, caller) => {
      const alias = aliasName(input);
      const key = store.resolve(text(input, "TargetKeyId"));
      access.authorize(caller, "kms:CreateAlias", key.arn);
      if (store.aliases.has(alias))
        throw new AwsError("AlreadyExistsException", `An alias with the name ${store.aliasArn(alias)} already exists`);
      store.setAlias(alias, key);
      return {};
    },
    UpdateAlias: (input, caller) => {
      const key = store.resolve(text(input, "TargetKeyId"));
      access.authorize(caller, "kms:UpdateAlias", key.arn);
      store.setAlias(existing(input), key);
      return {};
    },
    DeleteAlias: (input, caller) => {
      const alias = existing(input);
      access.authorize(caller, "kms:DeleteAlias", store.aliasArn(alias));
      store.removeAlias(alias);
      return {};
    },
    ListAliases: (input, caller) => {
      access.authorize(caller, "kms:ListAliases", "*");
      const only = optionalText(input, "KeyId");
      const id = only === undefined ? undefined : store.resolve(only).id;
      const rows = [...store.aliases].filter(([, keyId]) => id === undefined || keyId === id);
      const aliases = rows.map(([alias, keyId]) => ({
        AliasName: alias,
        AliasArn: store.aliasArn(alias),
        TargetKeyId: keyId,
      }));
      return { Aliases: aliases, Truncated: false };
    },
  };
}

function aliasName(input: JsonObject): string {
  const alias = text(input, "AliasName");
  if (alias.startsWith("alias/aws/"))
    throw new AwsError("NotAuthorizedException", "alias/aws/ is reserved for keys that AWS manages");
  if (ALIAS.test(alias)) return alias;
  throw new AwsError(
    "InvalidAliasNameException",
    "Alias must start with the prefix alias/ and hold no other characters",
  );
}
