// All entries of one instant: a repeatable read transaction on a session of its own, read page by page. The database
// keeps the rows that it sees until it ends, so vacuum removes nothing newer meanwhile.
import { CofferError } from "#common/errors.ts";
import type { StoredEntry } from "../storage.ts";
import { storageError } from "./faults.ts";
import type { Session } from "./session.ts";
import type { SessionPool } from "./session-pool.ts";
import { pageText } from "./statements.ts";

/** Whoever reads slowly leaves the session idle between two pages, which some servers end. */
const BEGIN = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0`;

/** Throws `unavailable`. */
export async function* readSnapshot(pool: SessionPool, table: string): AsyncGenerator<readonly StoredEntry[]> {
  pool.assertOpen();
  const session = await pool.connect();
  const cut = () => session.destroy();
  pool.closing.addEventListener("abort", cut);
  try {
    await session.script(BEGIN);
    let after = Buffer.alloc(0);
    for (;;) {
      const batch = await readPage(session, table, after);
      const last = batch.at(-1);
      if (last === undefined) return;
      after = Buffer.from(last.key);
      yield batch;
      pool.assertOpen();
    }
  } catch (error) {
    throw error instanceof CofferError ? error : storageError("read", error);
  } finally {
    pool.closing.removeEventListener("abort", cut);
    await session.end().catch(() => session.destroy());
  }
}

async function readPage(session: Session, table: string, after: Buffer): Promise<readonly StoredEntry[]> {
  // Not prepared: a portal of the protocol outlives its round trip inside of a transaction.
  const rows = await session.script(pageText(table, after));
  return rows.map(([key, value]) => ({ key: bytesOf(key).toString("utf8"), value: bytesOf(value) }));
}

/** bytea in its hexadecimal form: \x and two digits a byte. */
const bytesOf = (column: string | null | undefined) => Buffer.from((column ?? "").slice(2), "hex");
