// The registry's entry for PostgreSQL.
import type { StorageKind } from "../registry.ts";

export const postgresKind: StorageKind = {
  type: "postgres",
  aliases: ["postgresql"],
  doc: "Keeps everything in a table of a PostgreSQL database, shared by any number of servers, all of them active.",
  sharing: "machines",
  durable: true,
  async open(config, context) {
    const { parsePostgresOptions } = await import("./connect-options.ts");
    const options = parsePostgresOptions(config, context.environment ?? {});
    const { openPostgresStorage } = await import("./postgres-storage.ts");
    return openPostgresStorage(options, context);
  },
  startFixture: async () => (await import("./fixture.ts")).startFixture(),
};
