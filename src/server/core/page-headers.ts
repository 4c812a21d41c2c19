// Headers that the server's web pages are sent with besides their own (sys/config/ui/headers). One record.
import { list, map, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

/** Values by the header's name in lower case. */
export type PageHeaders = Readonly<Record<string, readonly string[]>>;

const headersKind = recordKind("headers of web pages", map(list(string)), { cached: true });
const HEADERS_KEY = "core/config/ui-headers";

export async function readPageHeaders(tx: Transaction): Promise<PageHeaders> {
  return (await tx.read(headersKind, HEADERS_KEY)) ?? {};
}

export function writePageHeaders(tx: Transaction, headers: PageHeaders): void {
  tx.write(headersKind, HEADERS_KEY, headers);
}
