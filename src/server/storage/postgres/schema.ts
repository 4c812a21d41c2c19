// Makes the objects of a store and brings older ones up to date, under a lock, so that servers that start together do
// it once. Refuses a newer format and tables of other programs. The objects are listed in statements.ts.
import { CofferError, messageOf } from "#common/errors.ts";
import { codeOf } from "./faults.ts";
import type { Session } from "./session.ts";
import { quoted } from "./statements.ts";

/** The format that this program writes, and the newest that it reads. */
const FORMAT_VERSION = 1;
const UNDEFINED_TABLE = "42P01";
const INSUFFICIENT_PRIVILEGE = "42501";

/** Throws `invalid_request` unless there is now a store of this format in the table. */
export async function prepareSchema(session: Session, table: string, mayCreate: boolean): Promise<void> {
  const found = await readFormat(session, table);
  if (found !== undefined) return assertFormat(found, table);
  if (!mayCreate)
    throw new CofferError("invalid_request", `storage.table ${table} has no store and skip_create_table is set`);
  try {
    await session.script(creation(table));
  } catch (error) {
    await session.script("ROLLBACK");
    throw creationFault(error, table);
  }
  assertFormat((await readFormat(session, table)) ?? [], table);
}

/**
 * Throws `invalid_request` for a database that speaks PostgreSQL's protocol and takes advisory locks for a courtesy:
 * some accept the call and lock nothing, and commits would overwrite each other there.
 */
export async function assertLocks(session: Session): Promise<void> {
  const held = "locktype = 'advisory' AND granted AND pid = pg_backend_pid()";
  // A text of several statements is one transaction, so the first one's lock is still held.
  const [row] = await session.script(`SELECT pg_advisory_xact_lock_shared(0);
    SELECT count(*) FROM pg_catalog.pg_locks WHERE ${held}`);
  if (row?.[0] === "1") return;
  throw new CofferError("invalid_request", "the database has no advisory locks; the storage needs PostgreSQL itself");
}

/** The format and its version, or undefined when there is no store. */
async function readFormat(session: Session, table: string): Promise<readonly (string | null)[] | undefined> {
  const one = (name: string) => `(SELECT value FROM ${quoted(table, "_format")} WHERE name = '${name}')`;
  try {
    return (await session.script(`SELECT ${one("format")}, ${one("version")}`))[0];
  } catch (error) {
    if (codeOf(error) !== UNDEFINED_TABLE) throw error;
    return undefined;
  }
}

function assertFormat([format, version]: readonly (string | null)[], table: string): void {
  const number = Number(version);
  if (format !== "coffer" || !Number.isInteger(number) || number < 1) throw foreign(table);
  if (number <= FORMAT_VERSION) return;
  const message = `the store in table ${table} has format ${number} and this program reads up to ${FORMAT_VERSION}; use a newer one`;
  throw new CofferError("invalid_request", message);
}

/** A table that is there already without a format is not ours, so nothing says "if not exists". */
function creation(table: string): string {
  const format = quoted(table, "_format");
  return `BEGIN;
    SELECT pg_advisory_xact_lock(hashtextextended('coffer schema ${table}', 0));
    DO $make$ BEGIN
      IF to_regclass('${format}') IS NOT NULL THEN RETURN; END IF;
      CREATE TABLE ${quoted(table)} (key bytea PRIMARY KEY, version bigint NOT NULL, value bytea NOT NULL);
      ALTER TABLE ${quoted(table)} ALTER COLUMN value SET STORAGE EXTERNAL;
      CREATE SEQUENCE ${quoted(table, "_version")};
      CREATE TABLE ${format} (name text PRIMARY KEY, value text NOT NULL);
      INSERT INTO ${format} VALUES ('format', 'coffer'), ('version', '${FORMAT_VERSION}');
    END $make$;
    COMMIT`;
}

function creationFault(error: unknown, table: string): unknown {
  const code = codeOf(error);
  if (code === "42P07") return foreign(table);
  if (code !== INSUFFICIENT_PRIVILEGE) return error;
  const message = `the user may not create the table ${table} (${messageOf(error)}); grant CREATE on its schema`;
  return new CofferError("invalid_request", message, { cause: error });
}

function foreign(table: string): CofferError {
  return new CofferError("invalid_request", `the table ${table} is another program's; choose another storage.table`);
}
