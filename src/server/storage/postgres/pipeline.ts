// Several prepared statements in one round trip and one transaction: Parse and Bind for all, Execute for each, one
// Sync at the end. The messages between two Syncs are one implicit transaction ("Pipelining" in PostgreSQL's protocol
// flow), so nothing of the client's is needed to finish it once it is sent. Databases that only speak the protocol may
// end a transaction with each Execute, so it can be told to say BEGIN and COMMIT. Plugs into `pg` where its own queries do.
import type { Connection } from "pg";

export interface Statement {
  /** Unique in a session. */
  readonly name: string;
  readonly text: string;
}
export interface BoundStatement {
  readonly statement: Statement;
  readonly values: readonly (Buffer | string)[];
}
/** Columns in their text form. */
export type Row = readonly (string | null)[];

const BEGIN: Statement = { name: "begin", text: "BEGIN" };
const COMMIT: Statement = { name: "commit_transaction", text: "COMMIT" };

export class Pipeline {
  /** The rows of each statement. Rejects with the server's or the connection's error. */
  readonly rows: Promise<readonly (readonly Row[])[]>;
  readonly #statements: readonly BoundStatement[];
  readonly #prepared: Set<string>;
  readonly #isTransaction: boolean;
  readonly #found: Row[][];
  readonly #resolve: (rows: readonly (readonly Row[])[]) => void;
  readonly #reject: (error: unknown) => void;
  #current: number;

  /**
   * `prepared` are the statements that the session knows; those that are new to it are added when all went well. With
   * `isTransaction` a failure leaves the session in a transaction that must be rolled back.
   */
  constructor(statements: readonly BoundStatement[], prepared: Set<string>, isTransaction = false) {
    this.#statements = statements;
    this.#prepared = prepared;
    this.#isTransaction = isTransaction;
    this.#current = isTransaction ? -1 : 0;
    this.#found = statements.map(() => []);
    const { promise, resolve, reject } = Promise.withResolvers<readonly (readonly Row[])[]>();
    this.rows = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: Connection): void {
    // Corked, so that all messages leave in one write.
    connection.stream.cork();
    try {
      for (const statement of this.#all()) {
        if (this.#prepared.has(statement.name)) continue;
        // An earlier pipeline may have failed after this was parsed; closing what does not exist is no error.
        connection.close({ type: "S", name: statement.name }, true);
        connection.parse({ ...statement, types: [] }, true);
      }
      if (this.#isTransaction) runBare(connection, BEGIN);
      // Bound in the opposite order: a large parameter has arrived before the first statement runs and takes locks.
      for (const [i, { statement, values }] of [...this.#statements.entries()].toReversed())
        connection.bind({ portal: portalOf(i), statement: statement.name, values: [...values] }, true);
      for (const i of this.#statements.keys()) connection.execute({ portal: portalOf(i) }, true);
      if (this.#isTransaction) runBare(connection, COMMIT);
      connection.sync();
    } finally {
      connection.stream.uncork();
    }
  }

  handleDataRow(message: { readonly fields: Row }): void {
    this.#found[this.#current]?.push(message.fields);
  }

  handleCommandComplete(): void {
    this.#current++;
  }

  handleReadyForQuery(): void {
    for (const { name } of this.#all()) this.#prepared.add(name);
    this.#resolve(this.#found);
  }

  handleError(error: unknown): void {
    this.#reject(error);
  }

  #all(): readonly Statement[] {
    const statements = this.#statements.map(({ statement }) => statement);
    return this.#isTransaction ? [BEGIN, ...statements, COMMIT] : statements;
  }

  // What `pg` may also call; none of it comes for these statements.
  handleRowDescription(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
}

const portalOf = (index: number) => `p${index}`;

function runBare(connection: Connection, { name }: Statement): void {
  connection.bind({ portal: name, statement: name, values: [] }, true);
  connection.execute({ portal: name }, true);
}
