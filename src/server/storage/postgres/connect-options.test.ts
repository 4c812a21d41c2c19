// The postgres stanza: Vault's settings, libpq's connection strings and variables, which wins, and what is refused.
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Environment, parsePostgresOptions } from "./connect-options.ts";

const parse = (config: JsonObject, environment: Environment = {}) => parsePostgresOptions(config, environment);
const hosts = (config: JsonObject, environment?: Environment) =>
  parse(config, environment).connect.hosts.map(({ host, port }) => `${host} ${port}`);

describe("the postgres stanza", () => {
  it("needs a connection string only", () => {
    expect(parse({ connection_url: "postgres://keeper:p%40ss@db.example:6432/vault?sslmode=verify-full" })).toEqual({
      connect: {
        hosts: [{ host: "db.example", port: 6432 }],
        user: "keeper",
        database: "vault",
        password: "p@ss",
        passwordFile: undefined,
        iam: undefined,
        sslMode: "verify-full",
        sslRootCert: undefined,
        sslCert: undefined,
        sslKey: undefined,
        applicationName: "coffer",
        serverOptions: undefined,
        connectTimeoutMillis: 5000,
        statementTimeoutMillis: 15_000,
        isPortable: false,
      },
      table: "coffer_kv",
      connectionsMax: 16,
      mayCreateTable: true,
      locking: undefined,
    });
  });

  it("takes what Vault's stanza has, numbers with or without quotes", () => {
    const vault = {
      table: "app.vault_kv",
      max_parallel: "32",
      ha_enabled: "true",
      ha_table: "x",
      max_idle_connections: 2,
    };
    const options = parse({ connection_url: "postgresql://u@h/d", skip_create_table: true, ...vault });
    expect(options).toMatchObject({ table: "app.vault_kv", connectionsMax: 32, mayCreateTable: false });
  });

  it("takes several hosts in both forms of connection strings", () => {
    const uri = "postgres://u@a:1,b,[::1]:3/d?target_session_attrs=read-write";
    expect(hosts({ connection_url: uri })).toEqual(["a 1", "b 5432", "::1 3"]);
    expect(hosts({ connection_url: "host=a,b port=7 user=u dbname='my db'" })).toEqual(["a 7", "b 7"]);
    expect(parse({ connection_url: "user=u password='it\\'s' host=/run/pg" }).connect).toMatchObject({
      password: "it's",
      hosts: [{ host: "/run/pg", port: 5432 }],
      database: "u",
    });
  });

  it("lets members of the stanza win over the connection string, and that over the environment", () => {
    const environment = { PGHOST: "env", PGPORT: "9", PGUSER: "env", PGPASSWORD: "env", PGSSLMODE: "require" };
    const { connect } = parse({ host: "own", connection_url: "host=url user=url", username: "me" }, environment);
    expect(connect).toMatchObject({ user: "me", password: "env", sslMode: "require", database: "me" });
    expect(connect.hosts).toEqual([{ host: "own", port: 9 }]);
    const variable = { VAULT_PG_CONNECTION_URL: "postgres://v@there/d" };
    expect(hosts({ connection_url: "postgres://u@here/d" }, variable)).toEqual(["there 5432"]);
  });

  it.each<[JsonObject, string]>([
    [{}, "names no user"],
    [{ connection_url: "mysql://x" }, "keyword=value"],
    [{ connection_url: "postgres://u@h:x/d" }, "host:port"],
    [{ connection_url: "postgres://u@h:70000/d" }, "storage.port"],
    [{ connection_url: "host=a,b,c port=1,2 user=u" }, "storage.port"],
    [{ connection_url: "postgres://u%zz@h/d" }, "two hexadecimal digits"],
    [{ connection_url: "postgres://u@h/d?sslmode=maybe" }, "storage.sslmode"],
    [{ connection_url: "postgres://u@h/d?search_path=x" }, "storage.search_path"],
    [{ connection_url: "postgres://u@h/d?target_session_attrs=standby" }, "read-write"],
    [{ connection_url: "postgres://u@h/d?sslcert=a" }, "storage.sslkey"],
    [{ connection_url: "postgres://u@h/d", table: 'a"; DROP' }, "storage.table"],
    [{ connection_url: "postgres://u@h/d", table: "t".repeat(56) }, "at most 55"],
    [{ connection_url: "postgres://u@h/d", max_parallel: "2" }, "storage.max_parallel"],
    [{ connection_url: "postgres://u@h/d", max_parallel: 513 }, "storage.max_parallel"],
    [{ connection_url: "postgres://u@h/d", connect_timeout: "0" }, "storage.connect_timeout"],
    [{ connection_url: "postgres://u@h/d", auth_type: "gcp_iam" }, "storage.auth_type"],
    [{ connection_url: "postgres://u@h/d", auth_type: "aws_iam" }, "storage.sslmode"],
    [{ connection_url: "postgres://u@h/d?sslmode=require", auth_type: "aws_iam", password: "p" }, "storage.password"],
    [{ connection_url: "postgres://u@h/d", locking: "none" }, "storage.locking"],
    [{ connection_url: "postgres://u@h/d", path: "/x" }, "storage.path is no setting"],
  ])("refuses %j", (config, words) => {
    const failure = { code: "invalid_request", message: expect.stringContaining(words) };
    expect(() => parse(config)).toThrow(expect.objectContaining(failure));
  });

  it("repeats no password in a refusal", () => {
    for (const connection_url of ["postgres://u:hidden@h:x/d", "user=u password='hidden"]) {
      expect(() => parse({ connection_url })).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining("hidden") }),
      );
    }
  });
});
