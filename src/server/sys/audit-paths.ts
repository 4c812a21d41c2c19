// sys/audit and sys/audit-hash.
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
        type: withDefault(field.text("Kind of device: file."), ""),
        description: withDefault(field.text("For people."), ""),
        options: withDefault(field.pairs("Options of the device, such as file_path."), {}),
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
  ];
}
