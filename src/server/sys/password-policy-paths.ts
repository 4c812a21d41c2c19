// sys/policies/password: how passwords are made for databases and directories.
import { CofferError } from "#common/errors.ts";
import { field, withDefault } from "../framework/fields.ts";
import { multiError } from "../framework/multi-error.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, listReply, noContent } from "../framework/reply.ts";
import {
  deletePasswordPolicy,
  listPasswordPolicies,
  passwordByPolicy,
  readPasswordPolicy,
  writePasswordPolicy,
} from "../passwords/password-policy-store.ts";
import { policyTextOf } from "../policy/policy-store.ts";

export function passwordPolicyPaths() {
  return [
    definePrivilegedPath("policies/password", {
      summary: "All password policies.",
      operations: {
        list: {
          summary: "List them.",
          handler: async ({ transaction, page }) => listReply(await listPasswordPolicies(transaction, page)),
        },
      },
    }),
    definePrivilegedPath("policies/password/:name", {
      summary: "A password policy.",
      fields: { policy: withDefault(field.text("Its text, HCL or JSON, plain or base64."), "") },
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction }, { name }) => {
            const policy = await readPasswordPolicy(transaction, name);
            if (policy === undefined) throw missing();
            return dataReply({ policy });
          },
        },
        update: {
          summary: "Write it.",
          handler: ({ transaction }, { name, policy }) => {
            if (policy === "") throw new CofferError("invalid_request", "missing policy: send its text");
            writePasswordPolicy(transaction, name, policyTextOf(policy));
            return noContent;
          },
        },
        delete: {
          summary: "Delete it.",
          handler: ({ transaction }, { name }) => {
            deletePasswordPolicy(transaction, name);
            return noContent;
          },
        },
      },
    }),
    definePrivilegedPath("policies/password/:name/generate", {
      summary: "A password by a policy; it is not stored.",
      operations: {
        read: {
          summary: "Make one.",
          handler: async ({ transaction }, { name }) => {
            const password = await passwordByPolicy(transaction, name);
            if (password === undefined) throw missing();
            return dataReply({ password });
          },
        },
      },
    }),
  ];
}

function missing(): CofferError {
  return multiError("not_found", "policy does not exist");
}
