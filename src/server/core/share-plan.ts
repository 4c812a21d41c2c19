// What the shares that people enter are of, and what comes of them: the unseal key, the emergency set when no seal
// opens by itself, or, in a migration, the key that changes its part: the unseal key becomes the recovery key or the
// other way about. Decides and computes; node.ts opens and commits.
import { CofferError } from "#common/errors.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import { openEmergency } from "../seal/emergency.ts";
import type { ShamirSeal, WrappedKey } from "../seal/seal.ts";
import { openByAny } from "./seal-copies.ts";
import type { SealSet } from "./seal-set.ts";
import { RECOVERY_PURPOSE, ROOT_PURPOSE, type SealConfig, type StoredSeal } from "./seal-store.ts";

/** A change of who opens the store that the configuration asks for and that needs the holders of shares. */
export type SealMigration = "to-auto" | "to-shamir";

export interface SharePlan {
  readonly threshold: number;
  /** The root key, from the key that the shares made. Throws SealError when they are not the right ones. */
  rootKey(key: SecretBytes): Promise<SecretBytes>;
  /** In a migration: who holds what afterwards. */
  readonly migrated?: (key: SecretBytes, rootKey: SecretBytes) => Promise<Migrated>;
}

export interface Migrated {
  readonly config: SealConfig;
  readonly keys: Readonly<Record<"root" | "recovery", readonly WrappedKey[]>>;
}

/** Which migration is pending: the old seal is disabled in the configuration, and the new one is there. */
export function migrationOf(config: SealConfig | undefined, seals: SealSet): SealMigration | undefined {
  if (!config) return undefined;
  if (config.type === "shamir") return !seals.activeShamir && seals.autos.length > 0 ? "to-auto" : undefined;
  return seals.activeShamir && seals.autos.length === 0 ? "to-shamir" : undefined;
}

/** Throws `invalid_request` when shares do nothing here, or are to be entered in another way. */
export function planShares(stored: StoredSeal, seals: SealSet, migrate: boolean): SharePlan {
  const migration = migrationOf(stored.config, seals);
  if (migration && !migrate)
    throw invalid("'migrate' parameter must be set true in JSON body when in seal migration mode");
  if (!migration && migrate) throw invalid("'migrate' parameter set true in JSON body when not in seal migration mode");
  if (migration === "to-shamir") return planToShamir(stored, seals);
  if (stored.config.type !== "shamir") return planEmergency(stored);
  const plan = planUnseal(stored, seals.shamir);
  return migration === "to-auto" ? { ...plan, migrated: (key, rootKey) => toAuto(stored, seals, key, rootKey) } : plan;
}

function planUnseal({ config, keys }: StoredSeal, seal: ShamirSeal | undefined): SharePlan {
  const copy = keys.root.find((candidate) => candidate.seal === seal?.name);
  if (!seal || !copy) throw invalid("this server is not sealed by shares: the configuration has no seal of that name");
  return { threshold: config.threshold, rootKey: async (key) => seal.unwrap(copy, ROOT_PURPOSE, key) };
}

function planEmergency({ config, keys }: StoredSeal): SharePlan {
  const { emergency } = keys;
  if (!emergency || config.emergencyThreshold === undefined)
    throw invalid("this server unseals by itself, and no emergency set was made; sys/seal-status says what keeps it");
  return {
    threshold: config.emergencyThreshold,
    rootKey: async (key) => openEmergency(emergency, ROOT_PURPOSE, key),
  };
}

/** The shares of the recovery key become those of the unseal key. */
function planToShamir({ config, keys }: StoredSeal, seals: SealSet): SharePlan {
  const seal = seals.activeShamir;
  if (!seal || config.recoveryShares === 0)
    throw invalid("there are no recovery keys that could become unseal keys; make them by sys/rotate/recovery/init");
  return {
    threshold: config.recoveryThreshold,
    rootKey: async (key) => {
      using recoveryKey = await openByAny(keys.recovery, RECOVERY_PURPOSE, seals.openers);
      if (!recoveryKey.equals(key)) throw invalid("migration failed, invalid recovery key; enter the shares again");
      return openByAny(keys.root, ROOT_PURPOSE, seals.openers);
    },
    migrated: async (key, rootKey) => ({
      config: {
        ...{ type: "shamir", shares: config.recoveryShares, threshold: config.recoveryThreshold },
        ...{ recoveryShares: 0, recoveryThreshold: 0 },
      },
      keys: { root: [seal.wrap(rootKey, ROOT_PURPOSE, key)], recovery: [] },
    }),
  };
}

/** The shares of the unseal key become those of the recovery key. */
async function toAuto(
  { config }: StoredSeal,
  seals: SealSet,
  key: SecretBytes,
  rootKey: SecretBytes,
): Promise<Migrated> {
  const [root, recovery] = await Promise.all([
    wrapByAutos(seals, rootKey, ROOT_PURPOSE),
    wrapByAutos(seals, key, RECOVERY_PURPOSE),
  ]);
  const { shares: recoveryShares, threshold: recoveryThreshold } = config;
  const type = seals.autos[0]?.type ?? config.type;
  return { config: { type, shares: 1, threshold: 1, recoveryShares, recoveryThreshold }, keys: { root, recovery } };
}

function wrapByAutos({ autos }: SealSet, key: SecretBytes, purpose: string) {
  return Promise.all(autos.map((seal) => seal.wrap(key, purpose)));
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
