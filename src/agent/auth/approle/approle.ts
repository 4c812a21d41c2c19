// Auto-auth by a role id and a secret id in files. The secret id may be wrapped: then its token must have been made where
// the configuration says, so that nobody slips in one of his own (sys/wrapping/lookup tells the creation path).
import { rm } from "node:fs/promises";
import { CofferError } from "#common/errors.ts";
import { flag, text } from "#common/hcl/config-fields.ts";
import { defineAuthMethod, type LoginPlace, readCredential, sendLogin } from "../auth-method.ts";
import { Remembered } from "../remembered.ts";

export const approle = defineAuthMethod({
  type: "approle",
  doc: "A role id and a secret id, each in a file.",
  fields: {
    role_id_file_path: text("File of the role id."),
    secret_id_file_path: text("File of the secret id; without it the role id alone is sent."),
    remove_secret_id_file_after_reading: flag(
      "Remove the file of the secret id once it has been read; later logins use what was read.",
      true,
    ),
    secret_id_response_wrapping_path: text(
      "The file holds a wrapping token instead, which must have been made at this path: auth/approle/role/web/secret-id.",
    ),
  },
  check: ({ role_id_file_path, secret_id_file_path, secret_id_response_wrapping_path }) => {
    if (role_id_file_path === undefined) return "role_id_file_path is missing";
    if (secret_id_response_wrapping_path !== undefined && secret_id_file_path === undefined)
      return "secret_id_response_wrapping_path wants a secret_id_file_path";
    return undefined;
  },
  create: (values, place) => {
    const { role_id_file_path: roleFile = "", secret_id_file_path: secretFile } = values;
    const { secret_id_response_wrapping_path: wrappingPath, remove_secret_id_file_after_reading: removes } = values;
    const roleId = new Remembered(true);
    // A wrapping token opens once, so what was in it has to be remembered in any case.
    const secretId = new Remembered(removes || wrappingPath !== undefined);
    return async (signal) => {
      const role_id = await roleId.text(roleFile, () => readCredential("the role id", roleFile));
      if (secretFile === undefined) return sendLogin(place, { role_id }, signal);
      const secret_id = await secretId.text(secretFile, async () => {
        const found = await readCredential("the secret id", secretFile);
        if (wrappingPath === undefined) return found;
        const opened = await unwrap(place, found, wrappingPath, signal);
        // Used up, whatever becomes of the login.
        await rm(secretFile, { force: true });
        return opened;
      });
      const answer = await sendLogin(place, { role_id, secret_id }, signal);
      if (removes) await rm(secretFile, { force: true });
      return answer;
    };
  },
});

async function unwrap({ client }: LoginPlace, token: string, wanted: string, signal: AbortSignal): Promise<string> {
  const { data } = await client.write("sys/wrapping/lookup", { token }, { token: "", signal });
  const made = data?.["creation_path"];
  if (made !== wanted.replace(/^\/?(v1\/)?/, "")) {
    throw new CofferError("permission_denied", `the wrapped secret id was not made at ${wanted}: do not use it`);
  }
  const answer = await client.write("sys/wrapping/unwrap", {}, { token, signal });
  const secretId = answer.data?.["secret_id"];
  if (typeof secretId === "string") return secretId;
  throw new CofferError("invalid_request", "the wrapping token held no secret_id");
}
