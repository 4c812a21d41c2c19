// Userpass: logins of people by name and password. Who is a user cannot be learnt from a login: an unknown name and a
// wrong password have one text and take the same time.
import { assertAddressAllowed } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import type { BackendType } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import type { HeavyWork } from "../../framework/heavy-work.ts";
import { LoginRefused } from "../../framework/login-refused.ts";
import { definePath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import { verifyPassword } from "./password.ts";
import { passwordPath, policiesPath, readUser, USER_FOLDER, userPath, usersPath } from "./users.ts";

export const userpassType: BackendType = {
  type: "userpass",
  create: (_options, { heavy }) => ({
    type: "userpass",
    summary: "Logins of people by name and password.",
    sealWrapped: [USER_FOLDER],
    paths: [loginPath(heavy), usersPath, userPath(heavy), passwordPath(heavy), policiesPath],
  }),
};

const loginPath = (heavy: HeavyWork) =>
  definePath("login/:username", {
    summary: "Login by name and password.",
    access: "public",
    fields: { password: field.text("The password.") },
    operations: {
      update: {
        summary: "Log in.",
        handler: (context, { username, password }) => login(context, heavy, username.toLowerCase(), password),
      },
    },
  });

async function login(
  context: Context,
  heavy: HeavyWork,
  username: string,
  password: string | undefined,
): Promise<Reply> {
  if (!password) throw new CofferError("invalid_request", "missing password");
  const user = await readUser(context.storage, username);
  const right = await heavy.run(() => verifyPassword(password, user?.passwordHash));
  if (!right || user === undefined) throw new LoginRefused("invalid_request", "invalid username or password", username);
  assertAddressAllowed(user.token.boundCidrs, context.remoteAddress);
  return {
    grant: {
      displayName: username,
      policies: user.token.policies,
      metadata: { username },
      aliasName: username,
      token: user.token,
    },
  };
}
