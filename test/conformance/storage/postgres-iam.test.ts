// Signing in to PostgreSQL with an AWS identity: a new token for each connection, over TLS alone.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Clock, systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { createLog } from "#common/log.ts";
import { type PostgresServer, startPostgres } from "#server/storage/postgres/fixture.ts";
import { postgresKind } from "#server/storage/postgres/kind.ts";
import type { Storage } from "#server/storage/storage.ts";
import { type IamDatabase, startIamDatabase } from "#test/kit/iam-database.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";

const started = await startPostgres({ fsync: "off" });
const REGION = "eu-central-1";
const KEYS = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const SESSION = "session/token+with=signs";

describe.skipIf(started === undefined)("a database that wants an AWS identity", () => {
  let server: PostgresServer;
  let gateway: IamDatabase;
  let folder = "";
  let later = 0;
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + later };
  const opened: Storage[] = [];
  const lines: string[] = [];

  beforeAll(async () => {
    if (started === undefined) throw new Error("PostgreSQL is not installed");
    server = started;
    folder = await mkdtemp(join(tmpdir(), "coffer-iam-"));
    const authority = await createTestAuthority();
    await writeFile(join(folder, "ca.pem"), authority.cert);
    const pair = await authority.server("database");
    gateway = await startIamDatabase({
      port: server.port,
      pair,
      ...KEYS,
      sessionToken: SESSION,
      region: REGION,
      clock,
    });
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    for (const storage of opened.splice(0)) await storage.close();
  });
  afterAll(async () => {
    await gateway.close();
    await server.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const open = async (more: JsonObject = {}): Promise<Storage> => {
    const connection_url = `postgres://coffer@localhost:${gateway.port}/postgres?sslmode=verify-full`;
    const config = { connection_url, auth_type: "aws_iam", aws_region: REGION, sslrootcert: join(folder, "ca.pem") };
    const log = createLog({
      level: "debug",
      format: "text",
      write: (line) => lines.push(line),
      now: () => clock.now(),
    });
    const storage = await postgresKind.open({ ...config, ...more }, { log, clock });
    opened.push(storage);
    return storage;
  };
  const identity = (keys: Partial<Record<"accessKeyId" | "secretAccessKey" | "sessionToken", string>> = {}) => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", keys.accessKeyId ?? KEYS.accessKeyId);
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", keys.secretAccessKey ?? KEYS.secretAccessKey);
    vi.stubEnv("AWS_SESSION_TOKEN", keys.sessionToken ?? SESSION);
  };
  const put = (storage: Storage, value: string) =>
    storage.commit({ expected: new Map(), writes: new Map([["a", Buffer.from(value)]]) });

  it("gets a new token for each connection, also when the first one has long run out", async () => {
    identity();
    const storage = await open();
    expect(await put(storage, "1")).toBe("committed");
    later += 20 * 60_000;
    // What is connected lives on; what is connected anew has a token of now.
    expect(await put(storage, "2")).toBe("committed");
    gateway.cut();
    await expect.poll(() => put(storage, "3").catch(() => "not yet"), { timeout: 5_000 }).toBe("committed");
    expect(new Set(gateway.signatures).size).toBeGreaterThan(1);
    expect(gateway.refusals).toEqual([]);
  });

  it("refuses a wrong identity, and the token is in no message and no line of the log", async () => {
    identity({ secretAccessKey: "another" });
    const failure: unknown = await open().catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining("authentication failed"),
    });
    expect(gateway.refusals).toContain("the signature is wrong");
    expect(String(failure) + lines.join("")).not.toMatch(/X-Amz|AKIA|another/);
  });

  it("says that there is no identity", async () => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]) vi.stubEnv(name, "");
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "none"));
    vi.stubEnv("AWS_CONFIG_FILE", join(folder, "none"));
    await expect(open()).rejects.toMatchObject({ message: expect.stringContaining("no AWS identity") });
  });
});
