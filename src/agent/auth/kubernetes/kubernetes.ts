// Auto-auth by the token of the pod's ServiceAccount, read afresh at each login, since the kubelet replaces it.
import { SERVICE_ACCOUNT_TOKEN_FILE } from "#client/kubernetes-login.ts";
import { text } from "#common/hcl/config-fields.ts";
import { defineAuthMethod, readCredential, sendLogin } from "../auth-method.ts";

export const kubernetes = defineAuthMethod({
  type: "kubernetes",
  doc: "The token of the pod's ServiceAccount.",
  fields: {
    role: text("The role on the server."),
    token_path: text("File of the token.", SERVICE_ACCOUNT_TOKEN_FILE),
  },
  check: ({ role }) => (role === undefined ? "role is missing" : undefined),
  create:
    ({ role = "", token_path }, place) =>
    async (signal) =>
      sendLogin(place, { role, jwt: await readCredential("the ServiceAccount token", token_path) }, signal),
});
