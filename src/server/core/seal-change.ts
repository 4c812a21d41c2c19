// Puts another set of seals in place of the one that a running server has: each new seal proves itself and gets its copies
// of the keys, and only then those of seals that are gone are dropped. What would leave nobody to open the store is
// refused, and nothing is changed. The configuration is read by whoever calls this.
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { AutoSeal, Seal } from "../seal/seal.ts";
import type { Node } from "./node.ts";
import type { SealCopies } from "./seal-copies.ts";
import type { SealSet } from "./seal-set.ts";
import type { StoredSeal } from "./seal-store.ts";
import { migrationOf } from "./share-plan.ts";

export interface SealChangeDependencies {
  readonly seals: SealSet;
  readonly copies: SealCopies;
  readonly node: Pick<Node, "state" | "refresh" | "reload">;
  readonly log: Log;
  /** What else the seals have wrapped follows them; see SealFollower. */
  readonly follower?: SealFollower | undefined;
}

/** Keeps keys of its own wrapped by the seals, as seal wrap does. */
export interface SealFollower {
  /** Seals of the names `renewed` have another key. Throws when something is left that none of `kept` opens. */
  follow(renewed: ReadonlySet<string>, kept: readonly string[]): Promise<void>;
}

/**
 * From now on `next`. Seals that are in both sets are the same objects; the others are the caller's to close, those of
 * `next` when this throws. Throws `invalid_request` for a set that cannot be, `conflict`.
 */
export async function changeSeals(deps: SealChangeDependencies, next: SealSet): Promise<void> {
  const { seals, copies, node, log } = deps;
  const added = next.autos.filter((seal) => !seals.active.includes(seal));
  await Promise.all(added.map(proved));
  if ((await node.refresh()) !== "uninitialised") {
    const stored = await copies.stored();
    assertOpens(stored, seals, next);
    if (node.state === "unsealed") await moveCopies(deps, { next, added, stored });
    else assertHasCopy(stored, next);
  }
  seals.replace(next.active, next.retired);
  await node.reload();
  log.info("the seals were read again", { seals: next.active.map(({ name }) => name).join(", ") });
}

async function proved(seal: AutoSeal): Promise<void> {
  try {
    await seal.probe();
  } catch (cause) {
    throw refused(`seal ${seal.name} cannot be used: ${messageOf(cause)}`, cause);
  }
}

/** Whether anybody could open the store by such a set. */
function assertOpens({ config }: StoredSeal, before: SealSet, next: SealSet): void {
  if (config.type === "shamir" && !next.shamir) {
    const name = before.shamir?.name ?? "shamir";
    throw refused(`the store opens by the shares of seal ${name}: keep its stanza with disabled = true, and migrate`);
  }
  if (config.type === "shamir" || next.autos.length > 0) return;
  if (migrationOf(config, next) !== undefined && next.retiredAutos.length > 0) return;
  throw refused(
    "it would leave no seal that opens the store: add another one first, or a shamir stanza beside the old one with disabled = true",
  );
}

/** While the server is sealed nothing can be wrapped, so one of the seals must have its copy already. */
function assertHasCopy({ keys }: StoredSeal, next: SealSet): void {
  if (next.all.some(({ name }) => keys.root.some(({ seal }) => seal === name))) return;
  throw refused("the server is sealed, and none of these seals holds the store's root key: keep one that does");
}

interface Move {
  readonly next: SealSet;
  readonly added: readonly AutoSeal[];
  readonly stored: StoredSeal;
}

async function moveCopies(
  { seals, copies, follower }: SealChangeDependencies,
  { next, added, stored }: Move,
): Promise<void> {
  const wanting = [];
  // Another worker of this server may have been first.
  for (const seal of added) if (!(await copies.holds(seal))) wanting.push(seal);
  await copies.renew(wanting, [...seals.openers, ...next.openers]);
  const dropped = namesToDrop(seals, next, stored);
  const isByShares = stored.config.type === "shamir";
  if (dropped.length > 0 && !isByShares && added.length === 0 && !(await anyHolds(copies, next.autos)))
    throw refused("no other seal is proved to hold the keys: see sys/seal-backend-status, and remove it later");
  await letFollow({ seals, follower }, next, added);
  if (dropped.length > 0) await copies.drop(dropped);
}

/** Meanwhile the seals that go open what they have wrapped. */
async function letFollow(
  { seals, follower }: Pick<SealChangeDependencies, "seals" | "follower">,
  next: SealSet,
  added: readonly AutoSeal[],
): Promise<void> {
  if (!follower) return;
  const { active, retired } = seals;
  const gone = seals.all.filter((seal) => !next.all.includes(seal));
  seals.replace(next.active, [...next.retired, ...gone]);
  try {
    await follower.follow(
      new Set(added.map(({ name }) => name)),
      next.openers.map(({ name }) => name),
    );
  } catch (cause) {
    seals.replace(active, retired);
    throw refused(messageOf(cause), cause);
  }
}

/** Of seals that this server had; those that it never knew belong to other servers of the store. */
function namesToDrop(seals: SealSet, next: SealSet, { config }: StoredSeal): readonly string[] {
  // In a migration to shares the old seals open until it is done.
  if (migrationOf(config, next) === "to-shamir") return [];
  const known: readonly Seal[] = [...seals.all, ...next.retired];
  const kept = next.active.map(({ name }) => name);
  const gone = known.filter(({ name }) => !kept.includes(name));
  const isUnseal = ({ kind }: Seal) => kind === "shamir" && config.type === "shamir";
  return [...new Set(gone.filter((seal) => !isUnseal(seal)).map(({ name }) => name))];
}

async function anyHolds(copies: SealCopies, autos: readonly AutoSeal[]): Promise<boolean> {
  for (const seal of autos) if (await copies.holds(seal).catch(() => false)) return true;
  return false;
}

function refused(why: string, cause?: unknown): CofferError {
  return new CofferError("invalid_request", `the seals were not changed: ${why}`, { cause });
}
