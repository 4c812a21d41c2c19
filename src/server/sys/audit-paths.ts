// sys/audit, sys/audit-hash and sys/audit-verify. Lines are verified here and not by whoever reads them: the MACs of the
// chain are symmetric, so whoever had their key could also forge lines. What comes is the digest and the MAC of each
// line, never the line.
import { PROOF_BYTES, PROOFS_MAX } from "#common/audit-chain.ts";
import { CofferError } from "#common/errors.ts";
import { readAuditTable } from "../audit/audit-record.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { noContent } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

const withSlash = (path: string) => (path.endsWith("/") ? path : `${path}/`);

export function auditPaths({ audit }: SysServices) {
  return [
    definePrivilegedPath("audit", {
      summary: "The audit devices.",
      access: "sudo",
      operations: {
        read: {
          summary: "Show them.",
          handler: async (context) => {
            const { devices } = await readAuditTable(context.transaction);
            const shown = devices.map(({ path, type, description, options, local }) => [
              path,
              { path, type, description, options, local },
            ]);
            return { data: Object.fromEntries(shown), repeatAtTop: true };
          },
        },
      },
    }),
    definePrivilegedPath("audit/:path*", {
      summary: "An audit device.",
      access: "sudo",
      fields: {
        type: withDefault(field.text("Kind of device: file, http, socket or syslog."), ""),
        description: withDefault(field.text("For people."), ""),
        options: withDefault(
          field.pairs("Options of the device, such as file_path; docs/guides/audit.md has them all."),
          {},
        ),
        local: withDefault(field.flag("Not replicated."), false),
      },
      operations: {
        update: {
          summary: "Enable it.",
          handler: async (context, { path, type, description, options, local }) => {
            await audit.enable(context.transaction, { path: withSlash(path), type, description, options, local });
            return noContent;
          },
        },
        delete: {
          summary: "Disable it.",
          handler: async (context, { path }) => {
            await audit.disable(context.transaction, withSlash(path));
            return noContent;
          },
        },
      },
    }),
    definePrivilegedPath("audit-hash/:path*", {
      summary: "How a text appears in a device's lines.",
      fields: { input: withDefault(field.text("The text."), "") },
      operations: {
        update: {
          summary: "Compute it.",
          handler: async (context, { path, input }) => {
            if (input === "") throw new CofferError("invalid_request", 'the "input" parameter is empty');
            return { data: { hash: await audit.hash(context.transaction, withSlash(path), input) }, repeatAtTop: true };
          },
        },
      },
    }),
    verifyPath(audit),
  ];
}

function verifyPath(audit: SysServices["audit"]) {
  return definePrivilegedPath("audit-verify/:path*", {
    summary: "Whether lines of a device are as they were written.",
    fields: {
      proofs: withDefault(
        field.text(`Base64 of ${PROOF_BYTES} bytes for each line: SHA-256 of what its MAC covers, and the MAC.`),
        "",
      ),
    },
    operations: {
      read: {
        summary: "The last line that this node wrote to the device.",
        handler: async (context, { path }) => {
          const { writer, number, mac } = await audit.head(context.transaction, withSlash(path));
          return { data: { writer, number, mac } };
        },
      },
      update: {
        summary: "Tell which lines are not.",
        handler: async (context, { path, proofs }) => {
          const bytes = readProofs(proofs);
          const invalid = await audit.verify(context.transaction, withSlash(path), bytes);
          return { data: { checked: bytes.length / PROOF_BYTES, invalid } };
        },
      },
    },
  });
}

function readProofs(text: string): Buffer {
  if (text.length > Math.ceil((PROOFS_MAX * PROOF_BYTES) / 3) * 4)
    throw new CofferError("invalid_request", `proofs holds more than ${PROOFS_MAX} proofs; send fewer at a time`);
  const bytes = Buffer.from(text, "base64");
  if (bytes.length === 0 || bytes.length % PROOF_BYTES !== 0 || bytes.length > PROOFS_MAX * PROOF_BYTES)
    throw new CofferError("invalid_request", `proofs must be base64 of 1 to ${PROOFS_MAX} times ${PROOF_BYTES} bytes`);
  return bytes;
}
