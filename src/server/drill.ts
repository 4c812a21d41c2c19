// `coffer operator drill`: proves, before the day on which it matters, that each seal of the configuration can open a
// snapshot alone. Restores it to a scratch store and brings up, for each seal, a node that has this seal and no other;
// what it opens is looked at value by value. Serves nothing, writes nothing but the scratch store, which is removed.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "./barrier/barrier.ts";
import { type ConfigFile, parseServerConfig, type SealStanza } from "./config/server-config.ts";
import { Node } from "./core/node.ts";
import { SealSet } from "./core/seal-set.ts";
import { RECOVERY_PURPOSE, readSeal } from "./core/seal-store.ts";
import type { Seal } from "./seal/seal.ts";
import { openSeal } from "./serve.ts";
import { replaceEntries } from "./snapshot/replace-entries.ts";
import { isOfKeys, limitsOf } from "./snapshot/restorer.ts";
import { Spool } from "./snapshot/spool.ts";
import { requireStorageKind } from "./storage/registry.ts";
import type { Storage } from "./storage/storage.ts";

/** What came of one seal. */
export interface DrillRow {
  readonly seal: string;
  readonly type: string;
  /** `people`: nobody was there to give the shares. */
  readonly result: "opens" | "fails" | "people";
  readonly reason: string;
  /** Values that were decrypted. */
  readonly decrypted: number;
}

export interface DrillOptions {
  readonly files: readonly ConfigFile[];
  /** Of the snapshot. */
  readonly snapshot: string;
  readonly io: ProgramIo;
  readonly log: Log;
  /** Gives a share; undefined when nobody is there to be asked. */
  readonly askShare?: ((seal: string, given: number) => Promise<SecretBytes>) | undefined;
}

const SCRATCH = "lmdb";

/** A row for each seal of the configuration, in order of priority. Throws `invalid_request` for no whole snapshot. */
export async function drill(options: DrillOptions): Promise<readonly DrillRow[]> {
  const { io, log } = options;
  const config = parseServerConfig(options.files);
  await using spool = await Spool.open(options.snapshot, limitsOf(SCRATCH));
  const folder = await mkdtemp(join(tmpdir(), "coffer-drill-"));
  try {
    const context = { log, clock: io.clock, environment: io.env };
    const storage = await requireStorageKind(SCRATCH).open({ path: folder }, context);
    try {
      const whole = { graceMillis: 0, mayTakeOver: false, isKept: () => false };
      const chunks = spool.chunks();
      await replaceEntries({ storage, clock: io.clock, snapshot: spool.checked.meta.id, chunks, ...whole });
      const rows: DrillRow[] = [];
      // One after the other: "alone" is what is to be proved.
      for (const stanza of config.seals)
        rows.push(await tryStanza(stanza, storage, options, () => openSeal(stanza, config, io)));
      return rows;
    } finally {
      await storage.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function tryStanza(
  { name, type }: SealStanza,
  storage: Storage,
  options: DrillOptions,
  open: () => Promise<Seal>,
): Promise<DrillRow> {
  const row = (result: DrillRow["result"], reason: string, decrypted = 0) => ({
    ...{ seal: name, type, result, reason, decrypted },
  });
  let seal: Seal | undefined;
  try {
    seal = await open();
    const nobody = await whoIsMissing(seal, storage, options);
    if (nobody !== undefined) return row("people", nobody);
    const decrypted = await openAlone(seal, storage, options);
    const trouble = await recoveryTrouble(seal, storage);
    return trouble === undefined ? row("opens", "", decrypted) : row("fails", trouble, decrypted);
  } catch (error) {
    return row("fails", messageOf(error));
  } finally {
    if (seal?.kind === "auto") await seal.close();
  }
}

async function whoIsMissing(seal: Seal, storage: Storage, { askShare }: DrillOptions): Promise<string | undefined> {
  if (seal.kind === "auto" || askShare) return undefined;
  const stored = await readSeal(storage);
  const isEmergency = stored?.config.type !== "shamir";
  if (isEmergency && !stored?.keys.emergency) throw new Error("the snapshot has no emergency set: make one");
  const threshold = isEmergency ? stored?.config.emergencyThreshold : stored?.config.threshold;
  return `${threshold ?? 0} people have to give their shares: use -shares`;
}

/** Values that the seal opened, all there are. Throws what keeps it. */
async function openAlone(seal: Seal, storage: Storage, { io, log, askShare }: DrillOptions): Promise<number> {
  const barrier = new Barrier({ storage, clock: io.clock, log });
  const node = new Node({ storage, barrier, seals: new SealSet([seal]), clock: io.clock, log });
  try {
    await node.refresh();
    if (seal.kind === "auto") await node.tryAutoUnseal(io.signal);
    else
      for (let given = 0; askShare && node.state !== "unsealed"; given++)
        await node.submitShare(await askShare(seal.name, given));
    if (node.state !== "unsealed") throw new CofferError("invalid_request", whyNot(node));
    return await countGenuine(barrier, storage);
  } finally {
    node.stop();
  }
}

function whyNot(node: Node): string {
  const [trouble] = node.troubles;
  if (trouble) return `${trouble.fault}: ${trouble.message}`;
  return "the snapshot holds no copy of the root key by this seal: it was added later, or never wrapped it";
}

async function countGenuine(barrier: Barrier, storage: Storage): Promise<number> {
  let decrypted = 0;
  for await (const batch of storage.snapshot()) {
    for (const { key, value } of batch) {
      if (isOfKeys(key)) continue;
      if (!barrier.isGenuine(key, value)) throw new Error(`the snapshot's value at path ${key} does not open`);
      decrypted++;
    }
  }
  return decrypted;
}

/** A seal that opens the store and not the recovery key leaves nobody to authorise anything. */
async function recoveryTrouble(seal: Seal, storage: Storage): Promise<string | undefined> {
  const recovery = (await readSeal(storage))?.keys.recovery ?? [];
  if (seal.kind !== "auto" || recovery.length === 0) return undefined;
  const copy = recovery.find((candidate) => candidate.seal === seal.name);
  if (!copy) return "it opens the store and has no copy of the recovery key";
  try {
    using _key = await seal.unwrap(copy, RECOVERY_PURPOSE);
    return undefined;
  } catch (error) {
    return `it opens the store and not the recovery key: ${messageOf(error)}`;
  }
}
