// sys/config: what pages of other origins may do, headers of the web pages, request headers that are audited.

import { CofferError } from "#common/errors.ts";
import { readAuditTable, writeAuditTable } from "../audit/audit-record.ts";
import { HEADERS_ALWAYS_ALLOWED, readCrossOrigin, writeCrossOrigin } from "../core/cross-origin.ts";
import { readPageHeaders, writePageHeaders } from "../core/page-headers.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, LABEL_BYTES_MAX, withDefault } from "../framework/fields.ts";
import { pageOf } from "../framework/listing.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

/** RFC 9110 5.6.2: a header's name is a token. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** Headers that are kept of one kind; all of them are read with every page or every audited request. */
const HEADERS_MAX = 100;
const ORIGINS_MAX = 1_000;

function assertHeader(name: string, count: number): void {
  if (!HEADER_NAME.test(name)) throw new CofferError("invalid_request", `"${name}" is not a header's name`);
  if (count >= HEADERS_MAX)
    throw new CofferError("invalid_request", `there are ${HEADERS_MAX} headers already; delete one first`);
}

/** Headers of answers are made of them. */
const few = { bytesMax: LABEL_BYTES_MAX, itemsMax: 100 } as const;

export function configPaths(services: SysServices) {
  return [...corsPaths(), ...pageHeaderPaths(), ...auditedHeaderPaths(), reloadPath(services)];
}

/** Certificates and audit files are looked at again and again, seals when asked, the rest is read at the start. */
function reloadPath({ reloadSeals, whole }: SysServices) {
  return definePrivilegedPath("config/reload/:subsystem", {
    summary: "Reads a part of the configuration again: `seal`. Others are refused, with the reason.",
    access: "sudo",
    operations: {
      update: {
        summary: "Read it.",
        handler: async (_context, { subsystem }) => {
          if (subsystem === "seal") {
            await reloadSeals();
            await whole.reread();
            return noContent;
          }
          const name = JSON.stringify(subsystem);
          throw new CofferError("invalid_request", `subsystem ${name} cannot be reloaded: ${reloadReason(subsystem)}`);
        },
      },
    },
  });
}

function reloadReason(subsystem: string): string {
  if (subsystem === "license") return "there is no licence";
  return "certificates and audit files are read again by themselves when they change, seals by sys/config/reload/seal or SIGHUP, all else at the next start";
}

function corsPaths() {
  return [
    definePrivilegedPath("config/cors", {
      summary: "Which pages of other origins may use the API.",
      access: "sudo",
      fields: {
        enable: withDefault(field.flag("False is as good as deleting the configuration."), true),
        allowed_origins: withDefault(field.list('Origins such as https://a.example; "*" is every one.', few), []),
        allowed_headers: withDefault(field.list("Headers that pages may send besides those of the API.", few), []),
        allow_credentials: withDefault(
          field.flag('Whether browsers send cookies and client certificates along; not with the origin "*".'),
          false,
        ),
      },
      operations: {
        read: { summary: "Show it.", handler: (context) => showCors(context) },
        update: {
          summary: "Set it.",
          handler: ({ transaction }, { enable, allowed_origins, allowed_headers, allow_credentials: credentials }) => {
            if (enable) assertOrigins(allowed_origins, credentials);
            const headers = [...new Set([...HEADERS_ALWAYS_ALLOWED, ...allowed_headers])];
            for (const name of headers) assertHeader(name, 0);
            writeCrossOrigin(transaction, enable ? { origins: allowed_origins, headers, credentials } : undefined);
            return noContent;
          },
        },
        delete: {
          summary: "Treat no origin in any way.",
          handler: ({ transaction }) => {
            writeCrossOrigin(transaction, undefined);
            return noContent;
          },
        },
      },
    }),
  ];
}

function assertOrigins(origins: readonly string[], credentials: boolean): void {
  if (origins.length === 0)
    throw new CofferError("invalid_request", "at least one origin or the wildcard must be provided");
  if (origins.length > ORIGINS_MAX)
    throw new CofferError("invalid_request", `allowed_origins has more than ${ORIGINS_MAX} entries`);
  if (origins.length > 1 && origins.includes("*"))
    throw new CofferError("invalid_request", "to allow all origins the '*' must be the only value for allowed_origins");
  // Otherwise every page in the world could act with what a browser sends by itself (Fetch standard, 3.3.5).
  if (credentials && origins.includes("*"))
    throw new CofferError("invalid_request", "allow_credentials needs named origins in allowed_origins, not '*'");
}

async function showCors({ transaction }: PrivilegedContext): Promise<Reply> {
  const rules = await readCrossOrigin(transaction);
  const data = rules
    ? {
        enabled: true,
        allowed_origins: rules.origins,
        allowed_headers: rules.headers,
        allow_credentials: rules.credentials,
      }
    : { enabled: false };
  return { data, repeatAtTop: true };
}

function pageHeaderPaths() {
  return [
    definePrivilegedPath("config/ui/headers", {
      summary: "Headers that the server's web pages are sent with.",
      access: "sudo",
      operations: {
        list: {
          summary: "Name them.",
          handler: async ({ transaction, page }) =>
            listReply(pageOf(Object.keys(await readPageHeaders(transaction)).sort(), page)),
        },
      },
    }),
    definePrivilegedPath("config/ui/headers/:header", {
      summary: "A header of the server's web pages.",
      access: "sudo",
      fields: {
        values: withDefault(field.list("Its values.", few), []),
        multivalue: withDefault(field.flag("Show all values, not the first alone."), false),
      },
      operations: {
        read: {
          summary: "Show its value.",
          handler: async ({ transaction }, { header, multivalue }) => {
            const values = (await readPageHeaders(transaction))[header.toLowerCase()];
            if (!values) return undefined;
            return dataReply(multivalue ? { values } : { value: values[0] ?? "" });
          },
        },
        update: { summary: "Set it.", handler: ({ transaction }, values) => setPageHeader(transaction, values) },
        delete: {
          summary: "Send it no more.",
          handler: async ({ transaction }, { header }) => {
            const { [header.toLowerCase()]: _, ...rest } = await readPageHeaders(transaction);
            writePageHeaders(transaction, rest);
            return noContent;
          },
        },
      },
    }),
  ];
}

async function setPageHeader(
  transaction: PrivilegedContext["transaction"],
  { header, values }: { readonly header: string; readonly values: readonly string[] },
): Promise<Reply> {
  const name = header.toLowerCase();
  const known = await readPageHeaders(transaction);
  assertHeader(name, name in known ? 0 : Object.keys(known).length);
  if (name.startsWith("x-vault-")) throw new CofferError("invalid_request", "X-Vault headers cannot be set");
  if (values.length === 0) throw new CofferError("invalid_request", `header "${header}" has no values; give "values"`);
  if (values.some((value) => /[^\t\x20-\x7e\x80-\xff]/.test(value)))
    throw new CofferError("invalid_request", `values of header "${header}" hold characters that no header may`);
  writePageHeaders(transaction, { ...known, [name]: values });
  return { data: null };
}

function auditedHeaderPaths() {
  return [
    definePrivilegedPath("config/auditing/request-headers", {
      summary: "Request headers that audit lines show.",
      access: "sudo",
      operations: {
        read: {
          summary: "Show them.",
          handler: async ({ transaction }) => {
            const { headers = {} } = await readAuditTable(transaction);
            return { data: { headers }, repeatAtTop: true };
          },
        },
      },
    }),
    definePrivilegedPath("config/auditing/request-headers/:header", {
      summary: "A request header that audit lines show.",
      access: "sudo",
      fields: { hmac: withDefault(field.flag("Show its HMAC in place of its value."), false) },
      operations: {
        read: {
          summary: "How it is shown.",
          handler: async ({ transaction }, { header }) => {
            const { headers = {} } = await readAuditTable(transaction);
            const found = headers[header.toLowerCase()];
            if (!found) throw new CofferError("invalid_request", "Could not find header in config");
            return { data: { [header.toLowerCase()]: found }, repeatAtTop: true };
          },
        },
        update: {
          summary: "Show it.",
          handler: async ({ transaction }, { header, hmac }) => {
            const name = header.toLowerCase();
            const table = await readAuditTable(transaction);
            const headers = table.headers ?? {};
            assertHeader(name, name in headers ? 0 : Object.keys(headers).length);
            writeAuditTable(transaction, { ...table, headers: { ...headers, [name]: { hmac } } });
            return noContent;
          },
        },
        delete: {
          summary: "Show it no more.",
          handler: async ({ transaction }, { header }) => {
            const table = await readAuditTable(transaction);
            const { [header.toLowerCase()]: _, ...headers } = table.headers ?? {};
            writeAuditTable(transaction, { ...table, headers });
            return noContent;
          },
        },
      },
    }),
  ];
}
