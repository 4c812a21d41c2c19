// The SQL of a store: its objects and every statement, prepared once in each session. How a commit is correct is
// explained in docs/adr/0016-postgres-commit.md. Format 2 of a store whose `table` is T:
//
//   T          key bytea (primary key, UTF-8, so ordered by bytes) | version bigint | value bytea (not compressed)
//   T_version  the version of each group of commits, which never goes back: a sequence, or with locking by row a table
//              with the one row id integer 1 | version bigint
//   T_format   name text (primary key) | value text: ('format', 'coffer'), ('version', '2'), ('locking', 'advisory' or
//              'row'). In format 1, which is brought up to date, there is no 'locking'.
import { SNAPSHOT_BATCH_BYTES, SNAPSHOT_BATCH_ENTRIES } from "../storage.ts";
import type { Locking } from "./connect-options.ts";
import type { Statement } from "./pipeline.ts";

export interface Statements {
  readonly get: Statement;
  readonly scan: Statement;
  readonly list: Statement;
  readonly check: Statement;
  readonly lock: Statement;
  readonly commit: Statement;
  /** With locking by row: removes what a commit has marked. */
  readonly clear: Statement;
  readonly position: Statement;
}

/** A name as it stands in SQL; `table` has been checked, a dot separates schema and table. */
export function quoted(table: string, suffix = ""): string {
  const parts = table.split(".");
  return parts.map((part, i) => `"${part}${i === parts.length - 1 ? suffix : ""}"`).join(".");
}

/** The longest suffix that `quoted` is given for an object of a store. */
export const LONGEST_SUFFIX = "_version";

/** Statements for a table whose name has been checked. */
export function statementsFor(table: string, locking: Locking = "advisory"): Statements {
  return locking === "advisory" ? advisoryStatements(table) : { ...advisoryStatements(table), ...rowStatements(table) };
}

/**
 * Locking by row, in SQL that databases without advisory locks, sequences and several changes of one table in a
 * statement have. A removed record is marked first (its value is null), and cleared in the same transaction.
 */
function rowStatements(table: string): Partial<Statements> {
  const [entries, row] = [quoted(table), quoted(table, "_version")];
  return {
    lock: { name: "lock", text: `UPDATE ${row} SET version = version + 1 WHERE id = 1` },
    commit: {
      name: "commit",
      text: `INSERT INTO ${entries} AS e (key, version, value)
        SELECT w.key, (SELECT v.version FROM ${row} v WHERE v.id = 1), w.value
        FROM unnest($4::int[], $5::bytea[], $6::bytea[]) AS w(owner, key, value)
        WHERE w.owner NOT IN (
          SELECT c.owner FROM unnest($1::int[], $2::bytea[], $3::bigint[]) AS c(owner, key, version)
          LEFT JOIN ${entries} s ON s.key = c.key WHERE coalesce(s.version, 0) <> c.version)
        ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value RETURNING e.key`,
    },
    clear: {
      name: "clear",
      text: `DELETE FROM ${entries} WHERE value IS NULL AND key IN (SELECT d.key FROM unnest($1::bytea[]) AS d(key))`,
    },
    position: { name: "position", text: `SELECT version, 0, 0 FROM ${row} WHERE id = 1` },
  };
}

function advisoryStatements(table: string): Statements {
  const entries = quoted(table);
  const sequence = `'${quoted(table, "_version")}'`;
  return {
    get: {
      name: "get",
      text: `SELECT k.n, e.version, e.value FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, n)
        JOIN ${entries} e ON e.key = k.key`,
    },
    scan: {
      name: "scan",
      text: `SELECT key FROM ${entries} WHERE key >= $1::bytea AND key < $2::bytea ORDER BY key LIMIT $3::bigint`,
    },
    list: { name: "list", text: listText(entries) },
    check: {
      name: "check",
      text: `SELECT count(*) FROM unnest($1::bytea[], $2::bigint[]) AS c(key, version)
        WHERE coalesce((SELECT e.version FROM ${entries} e WHERE e.key = c.key), 0) <> c.version`,
    },
    lock: {
      name: "lock",
      // Both functions give void; as text it is '', so that the condition is true and every row is visited, in order.
      text: `SELECT count(*) FROM unnest($1::bigint[], $2::boolean[]) AS l(key, exclusive)
        WHERE CASE WHEN exclusive THEN pg_advisory_xact_lock(key)::text ELSE pg_advisory_xact_lock_shared(key)::text END
          IS NOT NULL`,
    },
    commit: { name: "commit", text: commitText(entries, sequence) },
    clear: { name: "clear", text: "SELECT 1" },
    position: {
      name: "position",
      text: `SELECT CASE WHEN is_called THEN last_value ELSE 0 END,
        txid_snapshot_xmin(txid_current_snapshot()), txid_snapshot_xmax(txid_current_snapshot())
        FROM ${quoted(table, "_version")}`,
    },
  };
}

/**
 * One level below a prefix, a probe of the index for each name: after a key that is a name itself comes the next key,
 * after one inside a folder the first past the folder ("0" follows "/"). $1 where to begin, $2 the end of the prefix,
 * $3 the position after the prefix (from 1), $4 the limit.
 */
function listText(entries: string): string {
  const slash = "position('\\x2f'::bytea in substring(walk.key from $3::int))";
  return `WITH RECURSIVE walk(key, n) AS (
      (SELECT key, 1::bigint FROM ${entries} WHERE key >= $1::bytea ORDER BY key LIMIT 1)
      UNION ALL
      SELECT (SELECT e.key FROM ${entries} e WHERE e.key >= CASE WHEN ${slash} = 0 THEN walk.key || '\\x00'::bytea
          ELSE substring(walk.key from 1 for $3::int + ${slash} - 2) || '\\x30'::bytea END ORDER BY e.key LIMIT 1),
        walk.n + 1
      FROM walk WHERE walk.key < $2::bytea AND walk.n < $4::bigint
    ) SELECT key FROM walk WHERE key < $2::bytea ORDER BY n`;
}

/**
 * The next entries after a key: at least one, then until their values are as large as a batch may be. The sizes
 * are known without reading the values, which stand outside of the row when they are large.
 */
export function pageText(table: string, after: Buffer): string {
  const entries = quoted(table);
  return `SELECT key, value FROM (
      SELECT key, value, sum(octet_length(value)) OVER (ORDER BY key) - octet_length(value) AS before FROM (
        SELECT key, value FROM ${entries} WHERE key > '\\x${after.toString("hex")}'::bytea
          ORDER BY key LIMIT ${SNAPSHOT_BATCH_ENTRIES}
      ) AS next
    ) AS sized WHERE before < ${SNAPSHOT_BATCH_BYTES} ORDER BY key`;
}

/**
 * Several commits at once, told apart by `owner`. $1 to $3 are their read sets (version 0 is absent), $4 to $6 their
 * writes (null deletes). Gives the new version and the owners whose read set is out of date, who write nothing.
 */
function commitText(entries: string, sequence: string): string {
  return `WITH stale AS MATERIALIZED (
      SELECT DISTINCT c.owner FROM unnest($1::int[], $2::bytea[], $3::bigint[]) AS c(owner, key, version)
      WHERE coalesce((SELECT e.version FROM ${entries} e WHERE e.key = c.key), 0) <> c.version
    ), writes AS MATERIALIZED (
      SELECT w.key, w.value FROM unnest($4::int[], $5::bytea[], $6::bytea[]) AS w(owner, key, value)
      WHERE w.owner NOT IN (SELECT owner FROM stale)
    ), next AS MATERIALIZED (SELECT nextval(${sequence}) AS version),
    gone AS (DELETE FROM ${entries} e USING writes w WHERE e.key = w.key AND w.value IS NULL),
    put AS (
      INSERT INTO ${entries} AS e (key, version, value)
      SELECT w.key, next.version, w.value FROM writes w, next WHERE w.value IS NOT NULL
      ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value
    )
    SELECT next.version, (SELECT string_agg(owner::text, ',') FROM stale) FROM next`;
}
