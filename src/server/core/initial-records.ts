// The first records of a store: the mounts that always are, the keys of tokens, the cluster's id, and either a root
// token (for people who initialise by hand) or the results of the bootstrap requests (and then no root token at all).
import { randomUUID } from "node:crypto";
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { createMount } from "../mounts/mount-table.ts";
import { SYSTEM_MOUNTS } from "../mounts/system-mounts.ts";
import { ROOT_POLICY } from "../policy/acl.ts";
import { TokenService } from "../tokens/token-service.ts";

const clusterKind = recordKind("cluster", object({ id: string, name: string }), { cached: true });
const CLUSTER_KEY = "core/cluster";

export function readCluster(tx: Transaction): Promise<{ readonly id: string; readonly name: string } | undefined> {
  return tx.read(clusterKind, CLUSTER_KEY);
}

export class InitialRecords {
  readonly #tokens: TokenService;
  readonly #clusterName: string;
  constructor(tokens: TokenService, clusterName: string) {
    this.#tokens = tokens;
    this.#clusterName = clusterName;
  }

  /** What every store begins with. */
  async write(tx: Transaction): Promise<void> {
    TokenService.initialize(tx);
    const id = randomUUID();
    tx.write(clusterKind, CLUSTER_KEY, { id, name: this.#clusterName || `coffer-cluster-${id.slice(0, 8)}` });
    for (const mount of SYSTEM_MOUNTS) await createMount(tx, mount);
  }

  /** A token that may do everything and does not end. `id`: its text, for development servers. */
  async writeRootToken(tx: Transaction, id?: string): Promise<string> {
    const { token } = await this.#tokens.create(tx, {
      type: "service",
      parent: "",
      policies: [ROOT_POLICY],
      boundaries: [],
      path: "auth/token/root",
      displayName: "root",
      numUses: 0,
      ttlSeconds: 0,
      explicitMaxTtlSeconds: 0,
      maxTtlSeconds: 0,
      periodSeconds: 0,
      renewable: false,
      role: "",
      entityId: "",
      boundCidrs: [],
      addressLimits: [],
      ...(id !== undefined && { id }),
    });
    return token;
  }
}
