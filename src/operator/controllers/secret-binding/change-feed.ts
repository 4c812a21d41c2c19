// Changes of secrets as the servers tell them (docs/guides/events.md): one connection for each VaultCluster, in the name of
// the operator, which hears that a path changed and no value. Events are told at best effort, so the interval goes on,
// only slower, and after a lost connection everything is looked at once more.
import { changedPath } from "#agent/events/changed-path.ts";
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import { CHANGES_PATH } from "#common/binding-names.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { backoffMillis } from "#kube/backoff.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { titleOf } from "../../cluster-names.ts";

export interface ChangeFeeds {
  /** Whether the cluster tells changes now. */
  isLive(cluster: VaultCluster): boolean;
  /** Follows the clusters that there are until the signal aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

export interface ChangeFeedsOptions {
  readonly servers: {
    withSession(
      cluster: VaultCluster,
      signal: AbortSignal,
      work: (client: Pick<ApiClient, "messages">) => Promise<void>,
    ): Promise<void>;
  };
  /** Those to listen to now. */
  clusters(): readonly VaultCluster[];
  /** A path of the API changed ("secret/data/team/db"); undefined when it cannot be told which. */
  onChange(title: string, path: string | undefined): void;
  readonly clock: Clock;
  readonly log: Log;
}

/** New clusters are found this often. */
const CLUSTERS_EVERY_MILLIS: Millis = 5000;
const RECONNECT = { initialMillis: 1000, maxMillis: 60_000 };
/** A server that offers no events, or not to the operator, may do so after an upgrade or a change of policies. */
const REFUSED_MILLIS: Millis = 1_800_000;

export function createChangeFeeds(options: ChangeFeedsOptions): ChangeFeeds {
  const { clock } = options;
  const live = new Set<string>();
  const followed = new Map<string, Promise<void>>();
  return {
    isLive: (cluster) => live.has(titleOf(cluster)),
    async run(signal) {
      while (!signal.aborted) {
        for (const title of options.clusters().map(titleOf))
          if (!followed.has(title)) {
            const ended = follow(options, live, title, signal).finally(() => followed.delete(title));
            followed.set(title, ended);
          }
        await clock.sleep(CLUSTERS_EVERY_MILLIS, signal);
      }
      await Promise.all(followed.values());
    },
  };
}

/** One cluster, as long as it is there. */
async function follow(
  options: ChangeFeedsOptions,
  live: Set<string>,
  title: string,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  let wasLive = false;
  while (!signal.aborted) {
    const cluster = options.clusters().find((one) => titleOf(one) === title);
    if (cluster === undefined) return;
    const pause = await listen(options, cluster, signal, () => {
      live.add(title);
      options.log.info("changes of secrets are told by the server", { cluster: title });
      // What happened while nobody listened; at first everything is looked at anyway.
      if (wasLive) options.onChange(title, undefined);
      wasLive = true;
      failures = 0;
    });
    live.delete(title);
    await options.clock.sleep(pause ?? backoffMillis(RECONNECT, ++failures), signal);
  }
}

/** One connection, to its end. Gives the pause that its end asks for, if any. */
async function listen(
  options: ChangeFeedsOptions,
  cluster: VaultCluster,
  signal: AbortSignal,
  onOpen: () => void,
): Promise<Millis | undefined> {
  const title = titleOf(cluster);
  try {
    await options.servers.withSession(cluster, signal, async (client) => {
      for await (const text of client.messages(CHANGES_PATH, { query: { json: true }, signal, onOpen }))
        options.onChange(title, changedPath(text));
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof CofferError)) throw error;
    options.log.debug("the connection for changes ended", { cluster: title, error: messageOf(error) });
    const status = error instanceof ApiError ? error.status : 0;
    return status === 403 || status === 404 ? REFUSED_MILLIS : undefined;
  }
}

/**
 * The paths that people write for a path of the API: "secret/data/team/db" is secret/team/db on an engine with versions,
 * and itself on one without. Which of the two, and where the mount ends, the path alone does not say.
 */
export function writtenPaths(path: string): readonly string[] {
  const parts = path.split("/");
  const versioned = parts.flatMap((part, i) => {
    const isFolder = i > 0 && (part === "data" || part === "metadata");
    return isFolder ? [[...parts.slice(0, i), ...parts.slice(i + 1)].join("/")] : [];
  });
  return [path, ...versioned];
}
