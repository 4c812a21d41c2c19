// Histories of three server processes on one storage while they are killed, stopped and cut off, and the database is
// restarted: for every key there is one order of all operations that explains every answer.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { startEtcd } from "#server/storage/etcd/fixture.ts";
import { startPostgres } from "#server/storage/postgres/fixture.ts";
import { startTcpProxy } from "#test/kit/tcp-proxy.ts";
import { runLinearizability } from "./run.ts";

const NODES = 3;
/** Of etcd. */
const MEMBERS = 3;
const SECONDS = Number(process.env["COFFER_SECONDS"] ?? 20);
/** Beside the run itself: starts, the end of the last fault, the check. */
const TEST_MILLIS_MAX = (SECONDS + 150) * 1000;
const DATABASE_OUTAGE_MILLIS = [0, 800] as const;

const forEachNode = <T>(make: (index: number) => T) => Array.from({ length: NODES }, (_, index) => make(index));

it(
  "processes on one LMDB store",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-linearizability-"));
    try {
      const stanzas = forEachNode(() => ({ lmdb: { path: join(folder, "data") } }));
      await runLinearizability({ storage: "lmdb", stanzas, seconds: SECONDS });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  TEST_MILLIS_MAX,
);

it(
  "workers of two servers on one LMDB store",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-linearizability-"));
    try {
      const stanzas = [0, 1].map(() => ({ lmdb: { path: join(folder, "data") } }));
      await runLinearizability({ storage: "lmdb, workers", stanzas, workers: 2, seconds: SECONDS });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  TEST_MILLIS_MAX,
);

it(
  "nodes on one etcd",
  async (context) => {
    await using parts = new AsyncDisposableStack();
    const etcd = await startEtcd([], MEMBERS);
    if (etcd === undefined) return notInstalled("etcd", () => context.skip());
    parts.defer(() => etcd.remove());
    const lines = await Promise.all(etcd.addresses.map((address) => startTcpProxy(Number(new URL(address).port))));
    for (const line of lines) parts.defer(() => line.close());
    const address = lines.map(({ port }) => `http://127.0.0.1:${port}`);
    await runLinearizability({
      ...{ storage: "etcd", lines, seconds: SECONDS },
      stanzas: forEachNode(() => ({ etcd: { address, request_timeout: "1s", sync: "false" } })),
      restartDatabase: async (random) => {
        // Most often one member, which may be the leader; sometimes two, and there is no majority.
        const first = random.integer(0, MEMBERS);
        const members = random.integer(0, 4) === 0 ? [first, (first + 1) % MEMBERS] : [first];
        await Promise.all(members.map((member) => etcd.kill9(member)));
        await systemClock.sleep(random.integer(...DATABASE_OUTAGE_MILLIS));
        await Promise.all(members.map((member) => etcd.start(member)));
      },
    });
  },
  TEST_MILLIS_MAX,
);

it(
  "nodes on one PostgreSQL",
  async (context) => {
    await using parts = new AsyncDisposableStack();
    const postgres = await startPostgres();
    if (postgres === undefined) return notInstalled("PostgreSQL", () => context.skip());
    parts.defer(() => postgres.remove());
    const lines = await Promise.all(forEachNode(() => startTcpProxy(postgres.port)));
    for (const line of lines) parts.defer(() => line.close());
    const urlBy = (port: number) => `postgres://coffer@127.0.0.1:${port}/postgres?sslmode=disable&connect_timeout=1`;
    await runLinearizability({
      ...{ storage: "postgres", lines, seconds: SECONDS },
      stanzas: lines.map(({ port }) => ({ postgres: { connection_url: urlBy(port), statement_timeout: "1s" } })),
      restartDatabase: async (random) => {
        await random.pick([() => postgres.stop(), () => postgres.kill9()])();
        await systemClock.sleep(random.integer(...DATABASE_OUTAGE_MILLIS));
        await postgres.start();
      },
    });
  },
  TEST_MILLIS_MAX,
);

function notInstalled(what: string, skip: () => void): void {
  expect(process.env["CI"], `${what} must be installed in CI`).not.toBe("true");
  skip();
}
