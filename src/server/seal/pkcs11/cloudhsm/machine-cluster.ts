// A CloudHSM cluster for commands: what there is, and a new cluster from a backup. Making one costs money and takes many
// minutes, so it is planned first, and a plan that finds a cluster of the same backup goes on with that one.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { MachineCluster, RestorePlan, RestoreWish } from "../../key-machine.ts";
import type { CloudHsmConfig } from "./cloudhsm-config.ts";
import { type ClusterFacts, newestReady, shownBackup, shownLook, warningsOf } from "./cluster-facts.ts";
import { ControlPlane } from "./control-plane.ts";
import { ControlPlaneError } from "./control-plane-error.ts";

/** Between two looks at something that takes minutes. */
const POLL_MILLIS: Millis = 15_000;
/** An hour: AWS takes five to fifteen minutes for each step. */
const POLLS_MAX = 240;
const GONE = ["DELETED", "DELETE_IN_PROGRESS"];

export function createMachineCluster(
  config: CloudHsmConfig,
  clock: Clock,
): MachineCluster & { close(): Promise<void> } {
  const plane = new ControlPlane(config, clock);
  return {
    look: async () => {
      const look = await plane.look();
      const warnings = warningsOf(look, config.backupMaxAgeMillis).map(({ reason, message }) => ({ reason, message }));
      return { ...shownLook(look), region: config.region, warnings };
    },
    backups: async ({ isWholeRegion }) => {
      const found = await plane.backups(isWholeRegion ? {} : { clusterIds: [config.clusterId] });
      return found.map((backup) => ({ ...shownBackup(backup), cluster_id: backup.clusterId ?? "" }));
    },
    planRestore: (wish) => planRestore(plane, wish),
    restore: (plan, step, signal) => new Restore(plane, clock, step, signal).run(plan),
    close: () => plane.close(),
  };
}

async function planRestore(plane: ControlPlane, wish: RestoreWish): Promise<RestorePlan> {
  const { clusterId, region } = plane.config;
  const filters = wish.backupId === undefined ? { clusterIds: [clusterId] } : { backupIds: [wish.backupId] };
  const backup = newestReady(await plane.backups(filters));
  if (backup === undefined) {
    const which = wish.backupId === undefined ? `of the cluster ${clusterId}` : wish.backupId;
    throw invalid(`there is no backup ${which} that is READY in ${region}: see coffer operator hsm backups`);
  }
  const clusters = await plane.clusters();
  const old = clusters.find(({ id }) => id === clusterId);
  const existing = clusters.find(({ sourceBackupId, state }) => sourceBackupId === backup.id && !GONE.includes(state));
  const known = existing ?? old;
  const subnetIds = wish.subnetIds.length > 0 ? wish.subnetIds : (known?.subnetIds ?? []);
  const hsmType = wish.hsmType ?? known?.hsmType;
  if (subnetIds.length === 0) throw invalid("the old cluster is gone, so give -subnets, one for each zone");
  if (hsmType === undefined || hsmType === "") throw invalid("the old cluster is gone, so give -hsm-type as it had");
  if (wish.hsms > subnetIds.length)
    throw invalid(`${wish.hsms} HSMs want as many subnets, each in a zone of its own; there are ${subnetIds.length}`);
  return {
    ...{ region, backupId: backup.id, subnetIds, hsmType, hsms: wish.hsms, existingId: existing?.id },
    backupCreated: backup.createdMillis === undefined ? undefined : new Date(backup.createdMillis).toISOString(),
    retentionDays: wish.retentionDays ?? known?.retentionDays,
  };
}

class Restore {
  readonly #plane: ControlPlane;
  readonly #clock: Clock;
  readonly #step: (text: string) => void;
  readonly #signal: AbortSignal;
  constructor(plane: ControlPlane, clock: Clock, step: (text: string) => void, signal: AbortSignal) {
    this.#plane = plane;
    this.#clock = clock;
    this.#step = step;
    this.#signal = signal;
  }

  async run(plan: RestorePlan) {
    const id = plan.existingId ?? (await this.#create(plan));
    const ready = await this.#until(id, ({ state }) => state === "ACTIVE");
    const present = new Set(ready.hsms.filter(({ state }) => !GONE.includes(state)).map(({ zone }) => zone));
    const wanted = ready.zones.filter((zone) => !present.has(zone)).slice(0, Math.max(0, plan.hsms - present.size));
    for (const zone of wanted) {
      await this.#plane.createHsm(id, zone);
      this.#step(`asked for an HSM in ${zone}`);
    }
    const isThere = (cluster: ClusterFacts) => active(cluster) >= plan.hsms;
    const made = await this.#until(id, isThere);
    return shownLook({ cluster: made, backups: [], lookedMillis: this.#clock.now() });
  }

  async #create(plan: RestorePlan): Promise<string> {
    const { id } = await this.#plane.createCluster(plan);
    this.#step(`asked for the cluster ${id} from ${plan.backupId}`);
    return id;
  }

  async #until(id: string, isDone: (cluster: ClusterFacts) => boolean): Promise<ClusterFacts> {
    let told = "";
    for (let poll = 0; poll < POLLS_MAX; poll++) {
      const cluster = await this.#plane.cluster(id, this.#signal);
      const text = stateText(cluster);
      if (text !== told) this.#step(text);
      told = text;
      if (isDone(cluster)) return cluster;
      if (GONE.includes(cluster.state) || cluster.state === "DEGRADED") break;
      await this.#clock.sleep(POLL_MILLIS, this.#signal);
      if (this.#signal.aborted) break;
    }
    const message = `the cluster ${id} is not ready (${told}); it is not taken back. Run the command again to go on with it`;
    throw new ControlPlaneError("Failed", message);
  }
}

function active({ hsms }: ClusterFacts): number {
  return hsms.filter(({ state }) => state === "ACTIVE").length;
}

function stateText({ id, state, hsms }: ClusterFacts): string {
  const parts = hsms.map((hsm) => `${hsm.id} in ${hsm.zone} ${hsm.state}`);
  return [`${id} is ${state}`, ...parts].join(", ");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
