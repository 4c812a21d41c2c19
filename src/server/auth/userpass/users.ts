// Users of userpass: `users`, `users/<name>` and the two fields that have a path of their own. Names are lower case.
// Storage: `user/<name>` with the hash of the password and the token's parameters.
import { assertBlocks } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import { type Infer, object, string } from "#common/schema.ts";
import { recordKind, type StorageView } from "../../barrier/transaction.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import type { HeavyWork } from "../../framework/heavy-work.ts";
import { namesPath } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { tokenAliases, tokenValues } from "../../framework/token-aliases.ts";
import {
  mergeTokenParameters,
  noTokenParameters,
  tokenFields,
  tokenParametersReply,
  tokenParametersSchema,
} from "../../framework/token-parameters.ts";
import { acceptHash, hashPassword } from "./password.ts";

export const USER_FOLDER = "user/";
const userSchema = object({ passwordHash: string, token: tokenParametersSchema });
export type User = Infer<typeof userSchema>;
const userKind = recordKind("userpass user", userSchema);

export function readUser(storage: StorageView, name: string): Promise<User | undefined> {
  return storage.read(userKind, USER_FOLDER + name.toLowerCase());
}

const passwordFields = {
  password: field.text("The password."),
  password_hash: field.text("A bcrypt hash of the password, instead of the password itself."),
} as const;
interface Password {
  readonly password: string | undefined;
  readonly password_hash: string | undefined;
}

export const usersPath = namesPath("users", USER_FOLDER, "users");

export const userPath = (heavy: HeavyWork) =>
  definePath("users/:username", {
    caseless: true,
    summary: "A user: the password, and what the token is like.",
    fields: {
      ...tokenFields,
      ...passwordFields,
      policies: tokenAliases.policies,
      ttl: tokenAliases.ttl,
      max_ttl: tokenAliases.max_ttl,
      bound_cidrs: tokenAliases.bound_cidrs,
    },
    exists: async ({ storage }, { username }) => (await readUser(storage, username)) !== undefined,
    operations: {
      read: {
        summary: "Read a user; the password is never shown.",
        handler: async ({ storage }, { username }) => {
          const user = await readUser(storage, username);
          return user && dataReply(tokenParametersReply(user.token));
        },
      },
      update: {
        summary: "Make a user, or change what is sent of it.",
        handler: async (context, { username, ...values }) => {
          const before = await readUser(context.storage, username);
          const token = mergeTokenParameters(tokenValues(values), before?.token ?? noTokenParameters);
          const passwordHash = before && !hasPassword(values) ? before.passwordHash : await hashOf(values, heavy);
          return store(context, username, { passwordHash, token });
        },
      },
      delete: {
        summary: "Delete a user.",
        handler: ({ storage }, { username }) => {
          storage.delete(USER_FOLDER + username.toLowerCase());
          return noContent;
        },
      },
    },
  });

export const passwordPath = (heavy: HeavyWork) =>
  definePath("users/:username/password", {
    caseless: true,
    summary: "A user's password.",
    fields: passwordFields,
    operations: {
      update: {
        summary: "Change the password.",
        handler: async (context, { username, ...values }) => {
          const user = await requireUser(context, username);
          return store(context, username, { ...user, passwordHash: await hashOf(values, heavy) });
        },
      },
    },
  });

export const policiesPath = definePath("users/:username/policies", {
  caseless: true,
  summary: "A user's policies.",
  fields: { token_policies: tokenFields.token_policies, policies: tokenAliases.policies },
  operations: {
    update: {
      summary: "Change the policies.",
      handler: async (context, { username, ...values }) => {
        const user = await requireUser(context, username);
        return store(context, username, { ...user, token: mergeTokenParameters(tokenValues(values), user.token) });
      },
    },
  },
});

function store({ storage }: Context, username: string, user: User): Reply {
  assertBlocks("token_bound_cidrs", user.token.boundCidrs);
  storage.write(userKind, USER_FOLDER + username.toLowerCase(), user);
  return noContent;
}

async function requireUser({ storage }: Context, username: string): Promise<User> {
  const user = await readUser(storage, username);
  if (user === undefined) throw new CofferError("invalid_request", "username does not exist");
  return user;
}

function hasPassword({ password, password_hash }: Password): boolean {
  return Boolean(password) || Boolean(password_hash);
}

async function hashOf({ password, password_hash }: Password, heavy: HeavyWork): Promise<string> {
  if (password && password_hash)
    throw new CofferError("invalid_request", "must provide only one of password and password_hash");
  if (password) return heavy.run(() => hashPassword(password));
  if (password_hash) return acceptHash(password_hash);
  throw new CofferError("invalid_request", "must provide either password or password_hash");
}
