// sys/internal/counters: how many tokens and entities there are, counted in storage when asked.
import type { Transaction } from "../barrier/transaction.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply } from "../framework/reply.ts";
import { ENTITY_PREFIX } from "../identity/identity-records.ts";
import { ACCESSOR_PREFIX } from "../tokens/token-record.ts";

/** Keys of one look at storage. */
const PAGE = 10_000;

export function counterPaths() {
  return [
    definePrivilegedPath("internal/counters/tokens", {
      summary: "How many service tokens there are.",
      operations: {
        read: {
          summary: "Count them.",
          handler: async ({ transaction }) =>
            dataReply({ counters: { service_tokens: { total: await countBelow(transaction, ACCESSOR_PREFIX) } } }),
        },
      },
    }),
    definePrivilegedPath("internal/counters/entities", {
      summary: "How many entities there are.",
      operations: {
        read: {
          summary: "Count them.",
          handler: async ({ transaction }) =>
            dataReply({ counters: { entities: { total: await countBelow(transaction, ENTITY_PREFIX) } } }),
        },
      },
    }),
    definePrivilegedPath("internal/counters/requests", {
      summary: "Kept for clients: requests are counted in sys/metrics.",
      operations: { read: { summary: "An empty list.", handler: () => dataReply({ counters: [] }) } },
    }),
  ];
}

async function countBelow(tx: Transaction, prefix: string): Promise<number> {
  const to = `${prefix}\u{10ffff}`;
  let count = 0;
  for (let from = prefix; ; ) {
    const keys = await tx.scan({ from, to, limit: PAGE });
    count += keys.length;
    const last = keys.at(-1);
    if (keys.length < PAGE || last === undefined) return count;
    from = `${last}\0`; // the first key that can follow
  }
}
