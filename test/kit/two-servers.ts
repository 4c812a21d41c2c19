// Two real server processes on one storage, both unsealed and active, with a KV mount at secret/ and a policy for it:
// where the tests of shared storages begin. Knows the program's configuration and API, nothing of the storage.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { type Answer, at, exchange, must as mustExchange } from "./client.ts";
import { type RunningServer, startServer, startShamirServer, writeConfig } from "./server.ts";

const PAUSE_MILLIS = 20;
/** All rights to the mount. */
export const KEEPER_POLICY = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }';

export interface TwoServers {
  readonly one: RunningServer;
  readonly two: RunningServer;
  readonly root: string;
  /** A token that has the policy "keeper" alone. */
  newToken(): Promise<string>;
  stop(): Promise<void>;
}

/** `storage`: the configuration's stanza. */
export async function startTwoServers(storage: JsonObject): Promise<TwoServers> {
  await using started = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "coffer-two-"));
  started.defer(() => rm(folder, { recursive: true, force: true }));
  const one = await startShamirServer({ storage });
  started.defer(() => one.stop());
  const two = await startServer([`-config=${await writeConfig(folder, { storage })}`]);
  started.defer(() => two.stop());
  const root = one.rootToken;
  await must(two, "PUT", "sys/unseal", "", { key: one.unsealKey });
  await must(one, "POST", "sys/mounts/secret", root, { type: "kv" });
  await must(one, "PUT", "sys/policies/acl/keeper", root, { policy: KEEPER_POLICY });
  const both = started.move();
  return {
    ...{ one, two, root },
    newToken: async () => {
      const made = await must(one, "POST", "auth/token/create", root, { policies: ["keeper"] });
      return String(at(made, "auth", "client_token"));
    },
    stop: () => both.disposeAsync(),
  };
}

/** Sends a request; `token` "" is none. */
export function call(
  { address }: RunningServer,
  method: string,
  path: string,
  token: string,
  body?: JsonObject,
): Promise<Answer> {
  return exchange(address, token, method, path, body);
}

/** The same where it must succeed; gives the body. */
export function must(...[{ address }, method, path, token, body]: Parameters<typeof call>): Promise<JsonObject> {
  return mustExchange(address, token, method, path, body);
}

export interface Writing {
  /** Paths that were acknowledged; each holds its own `path`. */
  readonly acknowledged: ReadonlySet<string>;
  readonly statuses: ReadonlySet<number>;
  stop(): Promise<void>;
}

/** Writes new secrets through both servers, two at a time each, until it is stopped. */
export function startWriting({ one, two, root }: TwoServers): Writing {
  const acknowledged = new Set<string>();
  const statuses = new Set<number>();
  let [stopped, n] = [false, 0];
  const writers = [one, two, one, two].map(async (server) => {
    while (!stopped) {
      const path = `secret/restart/${n++}`;
      const { status } = await call(server, "PUT", path, root, { path });
      statuses.add(status);
      if (status < 300) acknowledged.add(path);
      else await systemClock.sleep(PAUSE_MILLIS);
    }
  });
  return {
    ...{ acknowledged, statuses },
    stop: async () => {
      stopped = true;
      await Promise.all(writers);
    },
  };
}
