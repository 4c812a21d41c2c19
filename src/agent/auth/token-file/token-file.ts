// Auto-auth by a token that somebody else has put into a file: it is looked up, then renewed like any other.

import { CofferError } from "#common/errors.ts";
import { text } from "#common/hcl/config-fields.ts";
import { defineAuthMethod, readCredential } from "../auth-method.ts";
import { lookUpToken } from "./look-up-token.ts";

export const tokenFile = defineAuthMethod({
  type: "token_file",
  doc: "A token in a file. For development: whoever reads the file is the agent.",
  fields: { token_file_path: text("File of the token.") },
  check: ({ token_file_path }) => (token_file_path === undefined ? "token_file_path is missing" : undefined),
  create:
    ({ token_file_path: file = "" }, { client }) =>
    async (signal) => {
      const token = await readCredential("the token", file);
      if (token === "") throw new CofferError("unavailable", `the token file ${file} is empty`);
      return lookUpToken(client, token, signal);
    },
});
