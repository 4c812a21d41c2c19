// sys/mfa/validate: the second factor of a login whose first came in a request before. The core makes the token.
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import { payloadCredentials } from "../identity/mfa/credentials.ts";
import { readMount } from "../mounts/mount-table.ts";
import type { SysServices } from "./services.ts";

export function mfaPaths({ loginMfa }: SysServices) {
  return [
    definePrivilegedPath("mfa/validate", {
      summary: "Finishes a login that must show a second factor.",
      access: "public",
      fields: {
        mfa_request_id: withDefault(field.text("What the login answered."), ""),
        mfa_payload: withDefault(field.object("A list with one code, by the id of its method."), {}),
      },
      operations: {
        update: {
          summary: "Show it.",
          handler: (context, { mfa_request_id, mfa_payload }) =>
            validate(context, loginMfa, mfa_request_id, payloadCredentials(mfa_payload)),
        },
      },
    }),
  ];
}

async function validate(
  { transaction: tx }: PrivilegedContext,
  loginMfa: SysServices["loginMfa"],
  requestId: string,
  credentials: ReturnType<typeof payloadCredentials>,
): Promise<Reply> {
  const login = await loginMfa.deferred(tx, requestId);
  const mount = await readMount(tx, login.mountPath);
  // Asked anew: what is demanded now counts, not what was when the password came.
  const subject = { mountAccessor: mount?.accessor ?? "", mountType: mount?.type ?? "", entityId: login.entityId };
  await loginMfa.check(tx, login.entityId, await loginMfa.demandsOn(tx, subject), credentials);
  loginMfa.finish(tx, requestId, login);
  const { groupNames, vouched, ...grant } = login.grant;
  const { mountPath, mountUuid, path, entityId } = login;
  const whole = { ...grant, ...(groupNames && { groupNames }), ...(vouched && { vouched }) };
  return { resumedLogin: { mountPath, mountUuid, path, entityId, grant: whole } };
}
