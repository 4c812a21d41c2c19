// sys/generate-root and its twin that always wants a token, sys/generate-root-token: a root token from shares.
import type { JsonObject } from "#common/json.ts";
import type { RootStatus } from "../ceremony/root-generation.ts";
import { decodeToken, PAD_LENGTH } from "../ceremony/root-generation.ts";
import type { OpenForm } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { shareFields, shareOf } from "./rekey-paths.ts";
import type { SysServices } from "./services.ts";

export function generateRootPaths(services: SysServices) {
  return [
    ...pathSet(services, "generate-root", { openForm: "generate-root" }, (bare) => ({ bare })),
    ...pathSet(services, "generate-root-token", {}, (data) => ({ data, repeatAtTop: true })),
    decodePath(),
  ];
}

/** Takes a token and its pad apart, for who has no tool at hand. Stateless; whoever has both has the token. */
function decodePath() {
  return definePrivilegedPath("decode-token", {
    summary: "The token of an encoded token and its one-time pad.",
    access: "public",
    fields: {
      encoded_token: withDefault(field.text("As sys/generate-root gave it."), ""),
      otp: withDefault(field.text("The pad."), ""),
    },
    operations: {
      update: {
        summary: "Decode it.",
        handler: (_context, { encoded_token, otp }) => dataReply({ token: decodeToken(encoded_token, otp) }),
      },
    },
  });
}

/** How a token that is made from shares leaves; of a recovery token too. */
export const tokenAttemptFields = {
  otp: withDefault(field.text("One-time pad as long as a token; the server makes one by default."), ""),
  pgp_key: withDefault(field.text("PGP public key to encrypt the token to, in place of a pad."), ""),
} as const;

function pathSet(
  services: SysServices,
  base: string,
  open: { openForm?: OpenForm },
  answer: (body: JsonObject) => Reply,
) {
  const { rootGeneration } = services.ceremonies;
  return [
    ...[`${base}/attempt`, ...(base === "generate-root" ? [base] : [])].map((pattern) =>
      definePrivilegedPath(pattern, {
        summary: "A root token from shares: begins, shows and ends an attempt.",
        access: "sudo",
        ...open,
        fields: tokenAttemptFields,
        operations: {
          read: {
            summary: "Show it.",
            handler: async ({ transaction }) => answer(shown(await rootGeneration.status(transaction))),
          },
          update: {
            summary: "Begin.",
            handler: async ({ transaction }, { otp, pgp_key }) => {
              const { pad, ...status } = await rootGeneration.start(transaction, otp, pgp_key);
              return answer({ ...shown(status), otp: pad });
            },
          },
          delete: {
            summary: "End it.",
            handler: ({ transaction }) => {
              rootGeneration.cancel(transaction);
              return noContent;
            },
          },
        },
      }),
    ),
    definePrivilegedPath(`${base}/update`, {
      summary: "A root token from shares: takes one.",
      access: "sudo",
      ...open,
      fields: shareFields,
      operations: {
        update: {
          summary: "Give a share.",
          handler: async ({ transaction }, { key, nonce }) => {
            using share = shareOf(key);
            const status = await rootGeneration.submit(transaction, share, nonce);
            return status.failed ? refusal : answer(shown(status));
          },
        },
      },
    }),
  ];
}

/** An answer and not an error, because an error would undo that the shares were forgotten. */
const refusal: Reply = {
  status: 400,
  bare: { errors: ["root generation failed: the shares are not those of the present key; give them again"] },
};

function shown({ attempt, required, encodedToken }: RootStatus): JsonObject {
  return {
    nonce: attempt?.nonce ?? "",
    started: attempt !== undefined,
    progress: attempt?.given.length ?? 0,
    required,
    complete: encodedToken !== undefined,
    encoded_token: encodedToken ?? "",
    encoded_root_token: encodedToken ?? "",
    pgp_fingerprint: attempt?.recipients?.[0]?.fingerprint ?? "",
    otp: "",
    otp_length: PAD_LENGTH,
  };
}
