// All paths of a server in recovery mode: its state, opening it, the recovery token, raw storage.
import type { JsonObject } from "#common/json.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { noContent } from "../framework/reply.ts";
import { tokenAttemptFields } from "../sys/generate-root-paths.ts";
import { rawPaths } from "../sys/raw-paths.ts";
import { shareFields, shareOf } from "../sys/rekey-paths.ts";
import { unsealPath } from "../sys/seal-paths.ts";
import { health, type StatusServices, sealStatus } from "../sys/status.ts";
import { RECOVERY_TOKEN_LENGTH, type RecoveryStatus, type RecoveryToken } from "./recovery-token.ts";

export function recoveryPaths(services: StatusServices, token: RecoveryToken) {
  return [...statePaths(services), ...tokenPaths(token), ...rawPaths()];
}

function statePaths(services: StatusServices) {
  return [
    definePrivilegedPath("seal-status", {
      summary: "Whether the server is sealed, and why.",
      access: "public",
      when: "always",
      operations: {
        read: {
          summary: "Show it.",
          handler: async () => ({ bare: { ...(await sealStatus(services)), recovery_mode: true } }),
        },
      },
    }),
    definePrivilegedPath("health", {
      summary: "The node's state. Never 200: no balancer may send requests here.",
      access: "public",
      when: "always",
      operations: {
        read: {
          summary: "Show it.",
          handler: async () => {
            const { body, kind } = await health(services);
            return { bare: { ...body, recovery_mode: true }, status: kind === "uninit" ? 501 : 503 };
          },
        },
      },
    }),
    unsealPath(services),
  ];
}

function tokenPaths(token: RecoveryToken) {
  return [
    definePrivilegedPath("generate-recovery-token/attempt", {
      summary: "A recovery token from shares: begins, shows and ends an attempt.",
      access: "public",
      when: "always",
      fields: tokenAttemptFields,
      operations: {
        read: { summary: "Show it.", handler: async () => ({ bare: shown(await token.status()) }) },
        update: {
          summary: "Begin.",
          handler: async (_context, { otp, pgp_key }) => {
            const { pad, ...status } = await token.start(otp, pgp_key);
            return { bare: { ...shown(status), otp: pad } };
          },
        },
        delete: {
          summary: "End it.",
          handler: () => {
            token.cancel();
            return noContent;
          },
        },
      },
    }),
    definePrivilegedPath("generate-recovery-token/update", {
      summary: "A recovery token from shares: takes one.",
      access: "public",
      when: "always",
      fields: shareFields,
      operations: {
        update: {
          summary: "Give a share.",
          handler: async (_context, { key, nonce }) => {
            using share = shareOf(key);
            return { bare: shown(await token.submit(share, nonce)) };
          },
        },
      },
    }),
  ];
}

function shown({ nonce, started, progress, required, fingerprint, encodedToken }: RecoveryStatus): JsonObject {
  return {
    nonce,
    started,
    progress,
    required,
    complete: encodedToken !== undefined,
    encoded_token: encodedToken ?? "",
    pgp_fingerprint: fingerprint,
    otp: "",
    otp_length: RECOVERY_TOKEN_LENGTH,
  };
}
