// Auto-auth by a JWT in a file. As in Vault's agent the file is removed once it has been used, unless told otherwise;
// the JWT is then kept in memory, and a new file takes its place.
import { rm } from "node:fs/promises";
import { flag, ignored, text } from "#common/hcl/config-fields.ts";
import { defineAuthMethod, readCredential, sendLogin } from "../auth-method.ts";
import { Remembered } from "../remembered.ts";

export const jwt = defineAuthMethod({
  type: "jwt",
  doc: "A JWT in a file.",
  fields: {
    path: text("File of the JWT."),
    role: text("The role on the server."),
    remove_jwt_after_reading: flag("Remove the file once it has been read; later logins use what was read.", true),
    skip_verify_sub: ignored("the server decides what a JWT must hold"),
    jwt_read_period: ignored("the file is read at each login"),
    enable_reauth_on_new_credentials: ignored("the file is read at each login"),
    remove_jwt_follows_symlinks: ignored("a link is removed, never what it points to"),
  },
  check: ({ path, role }) =>
    path === undefined ? "path is missing" : role === undefined ? "role is missing" : undefined,
  create: ({ path = "", role = "", remove_jwt_after_reading: removes }, place) => {
    const remembered = new Remembered(removes);
    return async (signal) => {
      const proof = await remembered.text(path, () => readCredential("the JWT", path));
      const answer = await sendLogin(place, { role, jwt: proof }, signal);
      // After the login, so that a server that is away costs nobody his only JWT.
      if (removes) await rm(path, { force: true });
      return answer;
    };
  },
});
