// Makes the objects of a store and brings older ones up to date, under a lock, so that servers that start together do
// it once. Refuses a newer format and tables of other programs. The objects are listed in statements.ts.
import { CofferError, messageOf } from "#common/errors.ts";
import type { Locking } from "./connect-options.ts";
import { codeOf, isServerError, isTransient } from "./faults.ts";
import type { Session } from "./session.ts";
import { quoted } from "./statements.ts";

/** The format that this program writes, and the newest that it reads. */
const FORMAT_VERSION = 2;
/** Two who make the same table at once meet in the catalog. */
const MEETINGS = ["23505", "42P07", "42710", "XX000"];
const MEETINGS_MAX = 20;
const UNDEFINED_TABLE = "42P01";
const INSUFFICIENT_PRIVILEGE = "42501";

export interface SchemaOptions {
  readonly table: string;
  readonly mayCreate: boolean;
  /** What the configuration says. */
  readonly locking: Locking | undefined;
}

/**
 * Gives how commits to the store are kept apart. Throws `invalid_request` unless there is now a store of this format in
 * the table, which this database and this configuration can be used with.
 */
export async function prepareSchema(session: Session, options: SchemaOptions): Promise<Locking> {
  const hasLocks = options.locking !== "row" && (await hasAdvisoryLocks(session));
  const store = (await readFormat(session, options.table)) ?? (await create(session, options, hasLocks));
  const locking = lockingOf(store, options);
  if (locking === "row" || hasLocks) return locking;
  const message =
    "the database has no advisory locks, which this store was made with; it needs PostgreSQL itself, or storage.locking = row for a new store";
  throw new CofferError("invalid_request", message);
}

async function create(session: Session, options: SchemaOptions, hasLocks: boolean): Promise<Format> {
  const { table, mayCreate, locking = hasLocks ? "advisory" : "row" } = options;
  if (!mayCreate)
    throw new CofferError("invalid_request", `storage.table ${table} has no store and skip_create_table is set`);
  try {
    if (locking === "row") await createPortably(session, table);
    else await session.script(creation(table));
  } catch (error) {
    if (locking === "advisory") await session.script("ROLLBACK");
    throw creationFault(error, table);
  }
  return (await readFormat(session, table)) ?? {};
}

/** Brings an older store up to date. */
export async function migrateSchema(session: Session, table: string): Promise<void> {
  const { version } = (await readFormat(session, table)) ?? {};
  if (version !== "1") return;
  const format = quoted(table, "_format");
  try {
    await session.script(`BEGIN;
      ${schemaLock(table)};
      INSERT INTO ${format} VALUES ('locking', 'advisory') ON CONFLICT DO NOTHING;
      UPDATE ${format} SET value = '${FORMAT_VERSION}' WHERE name = 'version' AND value = '1';
      COMMIT`);
  } catch (error) {
    await session.script("ROLLBACK");
    throw creationFault(error, table);
  }
}

/**
 * False for a database that speaks PostgreSQL's protocol and has no advisory locks, or takes them for a courtesy: some
 * accept the call and lock nothing, and commits would overwrite each other there.
 */
async function hasAdvisoryLocks(session: Session): Promise<boolean> {
  const held = "locktype = 'advisory' AND granted AND pid = pg_backend_pid()";
  try {
    // A text of several statements is one transaction, so the first one's lock is still held.
    const [row] = await session.script(`SELECT pg_advisory_xact_lock_shared(0);
      SELECT count(*) FROM pg_catalog.pg_locks WHERE ${held}`);
    return row?.[0] === "1";
  } catch (error) {
    if (isServerError(error)) return false;
    throw error;
  }
}

interface Format {
  readonly format?: string | null | undefined;
  readonly version?: string | null | undefined;
  readonly locking?: string | null | undefined;
}

/** Undefined when there is no store, or none that is finished. */
async function readFormat(session: Session, table: string): Promise<Format | undefined> {
  const one = (name: string) => `(SELECT value FROM ${quoted(table, "_format")} WHERE name = '${name}')`;
  try {
    const [row] = await session.script(`SELECT ${one("format")}, ${one("version")}, ${one("locking")}`);
    const [format, version, locking] = row ?? [];
    // Without a transaction around it a store is made step by step, and its mark comes last.
    return format === null && version === null ? undefined : { format, version, locking };
  } catch (error) {
    if (codeOf(error) !== UNDEFINED_TABLE) throw error;
    return undefined;
  }
}

function lockingOf({ format, version, locking }: Format, { table, locking: wanted }: SchemaOptions): Locking {
  const number = Number(version);
  if (format !== "coffer" || !Number.isInteger(number) || number < 1) throw foreign(table);
  if (number > FORMAT_VERSION) {
    const message = `the store in table ${table} has format ${number} and this program reads up to ${FORMAT_VERSION}; use a newer one`;
    throw new CofferError("invalid_request", message);
  }
  const found: Locking = locking === "row" ? "row" : "advisory";
  if (wanted === undefined || wanted === found) return found;
  const message = `storage.locking is ${wanted} and the store in table ${table} was made with ${found}; leave the setting out, or migrate to a new table`;
  throw new CofferError("invalid_request", message);
}

/** Whoever comes second finds what the first one has made, statement by statement: not all databases make it at once. */
async function createPortably(session: Session, table: string): Promise<void> {
  const [entries, row, format] = [quoted(table), quoted(table, "_version"), quoted(table, "_format")];
  if ((await exists(session, entries)) && !(await exists(session, format))) throw foreign(table);
  const statements = [
    `CREATE TABLE IF NOT EXISTS ${format} (name text PRIMARY KEY, value text NOT NULL)`,
    `CREATE TABLE IF NOT EXISTS ${row} (id integer PRIMARY KEY, version bigint NOT NULL)`,
    `CREATE TABLE IF NOT EXISTS ${entries} (key bytea PRIMARY KEY, version bigint NOT NULL, value bytea)`,
    `INSERT INTO ${row} VALUES (1, 0) ON CONFLICT DO NOTHING`,
    `INSERT INTO ${format} VALUES ('locking', 'row'), ('version', '${FORMAT_VERSION}'), ('format', 'coffer')
      ON CONFLICT DO NOTHING`,
  ];
  for (const statement of statements) {
    for (let meetings = 0; ; meetings++) {
      try {
        await session.script(statement);
        break;
      } catch (error) {
        const again = isTransient(error) || MEETINGS.includes(codeOf(error) ?? "");
        if (!again || meetings >= MEETINGS_MAX) throw error;
      }
    }
  }
}

async function exists(session: Session, name: string): Promise<boolean> {
  try {
    await session.script(`SELECT 1 FROM ${name} LIMIT 0`);
    return true;
  } catch (error) {
    if (codeOf(error) !== UNDEFINED_TABLE) throw error;
    return false;
  }
}

const schemaLock = (table: string) => `SELECT pg_advisory_xact_lock(hashtextextended('coffer schema ${table}', 0))`;

/** A table that is there already without a format is not ours, so nothing says "if not exists". */
function creation(table: string): string {
  const format = quoted(table, "_format");
  return `BEGIN;
    ${schemaLock(table)};
    DO $make$ BEGIN
      IF to_regclass('${format}') IS NOT NULL THEN RETURN; END IF;
      CREATE TABLE ${quoted(table)} (key bytea PRIMARY KEY, version bigint NOT NULL, value bytea NOT NULL);
      ALTER TABLE ${quoted(table)} ALTER COLUMN value SET STORAGE EXTERNAL;
      CREATE SEQUENCE ${quoted(table, "_version")};
      CREATE TABLE ${format} (name text PRIMARY KEY, value text NOT NULL);
      INSERT INTO ${format} VALUES ('format', 'coffer'), ('version', '${FORMAT_VERSION}'), ('locking', 'advisory');
    END $make$;
    COMMIT`;
}

function creationFault(error: unknown, table: string): unknown {
  if (error instanceof CofferError) return error;
  const code = codeOf(error);
  if (code === "42P07") return foreign(table);
  if (code !== INSUFFICIENT_PRIVILEGE) return error;
  const message = `the user may not create the table ${table} (${messageOf(error)}); grant CREATE on its schema`;
  return new CofferError("invalid_request", message, { cause: error });
}

function foreign(table: string): CofferError {
  return new CofferError("invalid_request", `the table ${table} is another program's; choose another storage.table`);
}
