// AWS's API of CloudHSM clusters (v2): looks at one and its backups, and makes a cluster from a backup. The SDK is loaded
// with the first call. The version in use is of 2023 (docs/adr/0002-dependencies.md): it reads no AWS_ENDPOINT_URL, so the
// endpoint is given, and its requestTimeout only warns, so every call gets an AbortSignal.
import type { Backup, CloudHSMV2Client, Cluster } from "@aws-sdk/client-cloudhsm-v2";
import { type Clock, within } from "#common/clock.ts";
import { awsCredentials } from "../../aws-identity.ts";
import type { CloudHsmConfig } from "./cloudhsm-config.ts";
import type { BackupFacts, ClusterFacts, ClusterLook } from "./cluster-facts.ts";
import { ControlPlaneError, explainControlPlane } from "./control-plane-error.ts";

/** Of one call with its attempts: the API answers in well under a second. */
const CALL_MILLIS = 10_000;
const ATTEMPTS_MAX = 3;
/** The API's own maximum. */
const PAGE_SIZE = 50;
/** 500 backups are more than a year of daily ones; the rest is older and of no use here. */
const PAGES_MAX = 10;

type Sdk = typeof import("@aws-sdk/client-cloudhsm-v2");
interface Connection {
  readonly sdk: Sdk;
  readonly client: CloudHSMV2Client;
}
type Call<T> = (connection: Connection, options: { readonly abortSignal: AbortSignal }) => Promise<T>;

export interface NewCluster {
  readonly backupId: string;
  readonly subnetIds: readonly string[];
  readonly hsmType: string;
  readonly retentionDays: number | undefined;
}

export class ControlPlane {
  readonly config: CloudHsmConfig;
  readonly #clock: Clock;
  #connection: Promise<Connection> | undefined;
  constructor(config: CloudHsmConfig, clock: Clock) {
    this.config = config;
    this.#clock = clock;
  }

  /** The cluster and its backups now. Throws ControlPlaneError. */
  async look(signal?: AbortSignal): Promise<ClusterLook> {
    const cluster = await this.cluster(this.config.clusterId, signal);
    const backups = await this.backups({ clusterIds: [cluster.id] }, signal);
    return { cluster, backups, lookedMillis: this.#clock.now() };
  }

  /** Throws ControlPlaneError "ClusterNotFound", among others. */
  async cluster(id: string, signal?: AbortSignal): Promise<ClusterFacts> {
    const { Clusters = [] } = await this.#call(
      ({ sdk, client }, options) =>
        client.send(new sdk.DescribeClustersCommand({ Filters: { clusterIds: [id] } }), options),
      signal,
    );
    const found = Clusters.find(({ ClusterId }) => ClusterId === id);
    if (found !== undefined) return clusterFacts(found);
    const message = `there is no CloudHSM cluster ${id} in ${this.config.region}: check cluster_id, region and account`;
    throw new ControlPlaneError("ClusterNotFound", message);
  }

  /** All of the region, as far as there are at most 500. Throws ControlPlaneError. */
  async clusters(signal?: AbortSignal): Promise<readonly ClusterFacts[]> {
    const found: Cluster[] = [];
    let next: string | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const input = next === undefined ? { MaxResults: PAGE_SIZE } : { MaxResults: PAGE_SIZE, NextToken: next };
      const answer = await this.#call(
        ({ sdk, client }, options) => client.send(new sdk.DescribeClustersCommand(input), options),
        signal,
      );
      found.push(...(answer.Clusters ?? []));
      next = answer.NextToken;
      if (next === undefined || next === "") break;
    }
    return found.map(clusterFacts);
  }

  /** The newest first. `filters` as DescribeBackups has them. Throws ControlPlaneError. */
  async backups(filters: Record<string, string[]>, signal?: AbortSignal): Promise<readonly BackupFacts[]> {
    const found: Backup[] = [];
    let next: string | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const common = { Filters: filters, MaxResults: PAGE_SIZE, SortAscending: false };
      const input = next === undefined ? common : { ...common, NextToken: next };
      const answer = await this.#call(
        ({ sdk, client }, options) => client.send(new sdk.DescribeBackupsCommand(input), options),
        signal,
      );
      found.push(...(answer.Backups ?? []));
      next = answer.NextToken;
      if (next === undefined || next === "") break;
    }
    return found.map(backupFacts).toSorted((a, b) => (b.createdMillis ?? 0) - (a.createdMillis ?? 0));
  }

  /** Asks for a new cluster with the contents of a backup; it is made in the background. Throws ControlPlaneError. */
  async createCluster({ backupId, subnetIds, hsmType, retentionDays }: NewCluster): Promise<ClusterFacts> {
    const { Cluster } = await this.#call(({ sdk, client }, options) => {
      const command = new sdk.CreateClusterCommand({
        ...{ SourceBackupId: backupId, SubnetIds: [...subnetIds], HsmType: hsmType },
        ...(retentionDays !== undefined && { BackupRetentionPolicy: { Type: "DAYS", Value: String(retentionDays) } }),
      });
      return client.send(command, options);
    });
    if (Cluster === undefined) throw new ControlPlaneError("Failed", "AWS answered CreateCluster without a cluster");
    return clusterFacts(Cluster);
  }

  /** Asks for one more HSM. Throws ControlPlaneError. */
  async createHsm(clusterId: string, zone: string): Promise<void> {
    await this.#call(({ sdk, client }, options) =>
      client.send(new sdk.CreateHsmCommand({ ClusterId: clusterId, AvailabilityZone: zone }), options),
    );
  }

  async close(): Promise<void> {
    const opened = await this.#connection?.catch(() => undefined);
    opened?.client.destroy();
  }

  async #call<T>(call: Call<T>, signal?: AbortSignal): Promise<T> {
    this.#connection ??= connect(this.config);
    const late = new AbortController();
    const abortSignal = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]);
    try {
      const work = this.#connection.then((connection) => call(connection, { abortSignal }));
      const answer = await within(this.#clock, CALL_MILLIS, work);
      if (answer !== "late") return answer;
      late.abort("late");
      // What is cut short now ends on its own, and says nothing new.
      work.catch(() => undefined);
      throw new ControlPlaneError("Unreachable", `the CloudHSM API did not answer within ${CALL_MILLIS / 1000} s`);
    } catch (error) {
      throw explainControlPlane(error, this.config);
    }
  }
}

async function connect(config: CloudHsmConfig): Promise<Connection> {
  const sdk = await import("@aws-sdk/client-cloudhsm-v2");
  const client = new sdk.CloudHSMV2Client({
    region: config.region,
    maxAttempts: ATTEMPTS_MAX,
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    credentials: await awsCredentials(config, config.region),
  });
  return { sdk, client };
}

function clusterFacts(cluster: Cluster): ClusterFacts {
  const {
    ClusterId = "",
    State = "",
    StateMessage,
    HsmType = "",
    SourceBackupId,
    Hsms = [],
    SubnetMapping = {},
  } = cluster;
  const days = Number(cluster.BackupRetentionPolicy?.Value);
  return {
    ...{ id: ClusterId, state: State, stateMessage: StateMessage, hsmType: HsmType, sourceBackupId: SourceBackupId },
    hsms: Hsms.map((hsm) => ({
      ...{
        id: hsm.HsmId ?? "",
        zone: hsm.AvailabilityZone ?? "",
        state: hsm.State ?? "",
        stateMessage: hsm.StateMessage,
      },
    })),
    // Keyed by zone, "the name of the subnet's Availability Zone as key" (API reference, Cluster).
    zones: Object.keys(SubnetMapping).toSorted(),
    subnetIds: Object.keys(SubnetMapping)
      .toSorted()
      .map((zone) => SubnetMapping[zone] ?? ""),
    retentionDays: Number.isInteger(days) ? days : undefined,
  };
}

function backupFacts(backup: Backup): BackupFacts {
  return {
    ...{ id: backup.BackupId ?? "", state: backup.BackupState ?? "", clusterId: backup.ClusterId },
    createdMillis: (backup.CopyTimestamp ?? backup.CreateTimestamp)?.getTime(),
    neverExpires: backup.NeverExpires === true,
    deletedMillis: backup.DeleteTimestamp?.getTime(),
    sourceRegion: backup.SourceRegion,
  };
}
