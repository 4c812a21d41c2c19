// CloudHSM v2 of the responder: clusters, their HSMs and backups, as the API tells them (CloudHSM v2 API reference; AWS JSON
// 1.1, target BaldrApiService, signed for "cloudhsm"). Timestamps are numbers. A new cluster or HSM is in creation when it
// is asked for the first time, and done when it is asked again, so that tests need not wait.
import { randomBytes } from "node:crypto";
import { isJsonArray, isJsonObject, type JsonObject } from "#common/json.ts";
import type { AccessControl, Caller } from "./access.ts";
import { AwsError } from "./aws-error.ts";
import type { JsonService, Operation } from "./json-service.ts";
import { integer, optionalText, text } from "./kms-input.ts";

export interface Hsm {
  readonly id: string;
  readonly zone: string;
  state: string;
}
export interface HsmCluster {
  readonly id: string;
  state: string;
  stateMessage: string;
  readonly hsmType: string;
  readonly sourceBackupId: string | undefined;
  readonly created: number;
  readonly retentionDays: number;
  /** Zone to subnet. */
  readonly subnets: Readonly<Record<string, string>>;
  readonly hsms: Hsm[];
}
export interface HsmBackup {
  readonly id: string;
  readonly clusterId: string;
  state: string;
  readonly created: number;
  readonly deletion?: number | undefined;
}

const PAGE_SIZE_DEFAULT = 25;
const RETENTION_DAYS_DEFAULT = 90;

/** The clusters of the region. Times in milliseconds. */
export class HsmStore {
  readonly clusters = new Map<string, HsmCluster>();
  readonly backups: HsmBackup[] = [];
  /** Subnet to zone; others do not exist. */
  readonly subnets = new Map<string, string>();
  readonly #now: () => number;
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A cluster as it is after everything was set up, with one HSM in each of the zones. */
  addCluster(zones: readonly string[], more: Partial<HsmCluster> = {}): HsmCluster {
    const subnets = Object.fromEntries(zones.map((zone, i) => [zone, `subnet-0000000${i}`]));
    const cluster = {
      ...{ id: newId("cluster"), state: "ACTIVE", stateMessage: "", hsmType: "hsm1.medium", sourceBackupId: undefined },
      ...{ created: this.#now(), retentionDays: RETENTION_DAYS_DEFAULT, subnets },
      hsms: zones.map((zone) => ({ id: newId("hsm"), zone, state: "ACTIVE" })),
      ...more,
    };
    this.clusters.set(cluster.id, cluster);
    return cluster;
  }

  addBackup(clusterId: string, more: Partial<HsmBackup> = {}): HsmBackup {
    const backup = { id: newId("backup"), clusterId, state: "READY", created: this.#now(), ...more };
    this.backups.push(backup);
    return backup;
  }

  cluster(id: string): HsmCluster {
    const found = this.clusters.get(id);
    if (found !== undefined) return found;
    throw new AwsError("CloudHsmResourceNotFoundException", `Cluster ${id} was not found.`);
  }
}

/** CloudHSM ids are in base 32: "cluster-[2-7a-zA-Z]{11,16}". */
function newId(kind: string): string {
  const letters = "abcdefghijklmnopqrstuvwxyz234567";
  return `${kind}-${[...randomBytes(11)].map((byte) => letters[byte % letters.length]).join("")}`;
}

export function cloudHsmService(store: HsmStore, access: AccessControl, scope: string): JsonService {
  return {
    name: "cloudhsm",
    target: "BaldrApiService",
    operations: { ...describing(store, access), ...creating(store, access, scope) },
  };
}

function describing(store: HsmStore, access: AccessControl): Record<string, Operation> {
  return {
    DescribeClusters: (input, caller) => {
      access.authorize(caller, "cloudhsm:DescribeClusters", "*");
      const wanted = filtersOf(input, ["clusterIds", "vpcIds", "states"]);
      const fits = ({ id, state }: HsmCluster) =>
        (wanted["clusterIds"]?.includes(id) ?? true) && (wanted["states"]?.includes(state) ?? true);
      const { page, next } = pageOf([...store.clusters.values()].filter(fits), input);
      const answer = { Clusters: page.map(clusterJson), ...next };
      page.forEach(goOn);
      return answer;
    },
    DescribeBackups: (input, caller) => {
      access.authorize(caller, "cloudhsm:DescribeBackups", "*");
      const wanted = filtersOf(input, ["clusterIds", "backupIds", "sourceBackupIds", "states", "neverExpires"]);
      const fits = ({ id, clusterId, state }: HsmBackup) =>
        (wanted["clusterIds"]?.includes(clusterId) ?? true) &&
        (wanted["backupIds"]?.includes(id) ?? true) &&
        (wanted["states"]?.includes(state) ?? true);
      const sign = input["SortAscending"] === true ? 1 : -1;
      const found = store.backups.filter(fits).sort((a, b) => sign * (a.created - b.created));
      const { page, next } = pageOf(found, input);
      return { Backups: page.map(backupJson), ...next };
    },
  };
}

function creating(store: HsmStore, access: AccessControl, scope: string): Record<string, Operation> {
  /** What the service does with the caller's rights (Service Authorization Reference, AWS CloudHSM). */
  const dependent = (caller: Caller, actions: readonly string[]) => {
    for (const action of actions) access.authorize(caller, `ec2:${action}`, "*");
  };
  return {
    CreateCluster: (input, caller) => {
      const source = optionalText(input, "SourceBackupId");
      access.authorize(caller, "cloudhsm:CreateCluster", source === undefined ? "*" : `${scope}backup/${source}`);
      dependent(caller, ["CreateSecurityGroup", "DescribeSecurityGroups", "DescribeSubnets"]);
      if (source !== undefined && !store.backups.some(({ id, state }) => id === source && state === "READY"))
        throw new AwsError("CloudHsmResourceNotFoundException", `Backup ${source} was not found.`);
      const subnets = zonesOf(store, input["SubnetIds"]);
      const cluster = store.addCluster([], {
        ...{ state: "CREATE_IN_PROGRESS", hsmType: hsmType(input), sourceBackupId: source, subnets },
        retentionDays: retentionDays(input),
      });
      return { Cluster: clusterJson(cluster) };
    },
    CreateHsm: (input, caller) => {
      const id = text(input, "ClusterId");
      access.authorize(caller, "cloudhsm:CreateHsm", `${scope}cluster/${id}`);
      dependent(caller, ["CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets"]);
      const cluster = store.cluster(id);
      const zone = text(input, "AvailabilityZone");
      if (cluster.state !== "ACTIVE" || !Object.hasOwn(cluster.subnets, zone))
        throw new AwsError("CloudHsmInvalidRequestException", `Cluster ${id} takes no HSM in ${zone}.`);
      const hsm = { id: newId("hsm"), zone, state: "CREATE_IN_PROGRESS" };
      cluster.hsms.push(hsm);
      return { Hsm: hsmJson(cluster, hsm) };
    },
  };
}

/** One step on the way from asked for to there. A cluster from a backup needs no initialisation. */
function goOn(cluster: HsmCluster): void {
  if (cluster.state === "CREATE_IN_PROGRESS")
    cluster.state = cluster.sourceBackupId === undefined ? "UNINITIALIZED" : "ACTIVE";
  for (const hsm of cluster.hsms) if (hsm.state === "CREATE_IN_PROGRESS") hsm.state = "ACTIVE";
}

function clusterJson(cluster: HsmCluster): JsonObject {
  return {
    ...{ ClusterId: cluster.id, State: cluster.state, StateMessage: cluster.stateMessage, HsmType: cluster.hsmType },
    ...{ BackupPolicy: "DEFAULT", CreateTimestamp: cluster.created / 1000, VpcId: "vpc-00000000" },
    BackupRetentionPolicy: { Type: "DAYS", Value: String(cluster.retentionDays) },
    ...(cluster.sourceBackupId !== undefined && { SourceBackupId: cluster.sourceBackupId }),
    SubnetMapping: { ...cluster.subnets },
    Hsms: cluster.hsms.map((hsm) => hsmJson(cluster, hsm)),
  };
}

function hsmJson(cluster: HsmCluster, { id, zone, state }: Hsm): JsonObject {
  const subnet = cluster.subnets[zone] ?? "";
  return { HsmId: id, AvailabilityZone: zone, ClusterId: cluster.id, SubnetId: subnet, State: state, StateMessage: "" };
}

function backupJson({ id, clusterId, state, created, deletion }: HsmBackup): JsonObject {
  return {
    ...{ BackupId: id, BackupState: state, ClusterId: clusterId, CreateTimestamp: created / 1000, NeverExpires: false },
    ...(deletion !== undefined && { DeleteTimestamp: deletion / 1000 }),
  };
}

function filtersOf(input: JsonObject, known: readonly string[]): Readonly<Record<string, readonly string[]>> {
  const filters = input["Filters"] ?? {};
  if (!isJsonObject(filters)) throw invalid("Filters must be a map");
  return Object.fromEntries(
    Object.entries(filters).map(([name, values]) => {
      if (!known.includes(name) || !isJsonArray(values)) throw invalid(`${name} is not a filter with values`);
      return [name, values.map(String)];
    }),
  );
}

function pageOf<T>(all: readonly T[], input: JsonObject): { page: readonly T[]; next: JsonObject } {
  const size = integer(input, "MaxResults", { from: 1, to: 50 }) ?? PAGE_SIZE_DEFAULT;
  const from = Number(optionalText(input, "NextToken") ?? "0");
  const end = from + size;
  return { page: all.slice(from, end), next: end < all.length ? { NextToken: String(end) } : {} };
}

function zonesOf(store: HsmStore, value: JsonObject[string] | undefined): Record<string, string> {
  if (value === undefined || !isJsonArray(value) || value.length < 1 || value.length > 10)
    throw invalid("SubnetIds must have 1 to 10 items");
  const pairs = value.map((subnet): [string, string] => {
    const zone = store.subnets.get(String(subnet));
    if (zone === undefined) throw invalid(`The subnet ID ${String(subnet)} does not exist`);
    return [zone, String(subnet)];
  });
  if (new Set(pairs.map(([zone]) => zone)).size !== pairs.length)
    throw invalid("You can specify only one subnet per Availability Zone.");
  return Object.fromEntries(pairs);
}

function hsmType(input: JsonObject): string {
  const type = text(input, "HsmType");
  if (/^((p|)hsm[0-9][a-z.]*\.[a-zA-Z]+)$/.test(type)) return type;
  throw invalid(`${type} is not a type of HSM`);
}

function retentionDays(input: JsonObject): number {
  const policy = input["BackupRetentionPolicy"];
  if (policy === undefined || !isJsonObject(policy)) return RETENTION_DAYS_DEFAULT;
  const days = Number(policy["Value"]);
  if (policy["Type"] === "DAYS" && Number.isInteger(days) && days >= 7 && days <= 379) return days;
  throw invalid("BackupRetentionPolicy must be 7 to 379 DAYS");
}

function invalid(message: string): AwsError {
  return new AwsError("CloudHsmInvalidRequestException", message);
}
