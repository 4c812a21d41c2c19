// Reads the seals' stanzas again while the server runs (SIGHUP, sys/config/reload/seal) and changes what has changed. A
// stanza that is as before keeps its seal, with its connections and sessions, unless a key that it names by a file or a
// variable is another one by now.
import { isDeepStrictEqual } from "node:util";
import type { Log } from "#common/log.ts";
import type { SealStanza } from "./config/server-config.ts";
import type { Node } from "./core/node.ts";
import { changeSeals, type SealFollower } from "./core/seal-change.ts";
import type { SealCopies } from "./core/seal-copies.ts";
import { SealSet } from "./core/seal-set.ts";
import type { Seal } from "./seal/seal.ts";

export interface SealReloadDependencies {
  readonly seals: SealSet;
  readonly copies: SealCopies;
  readonly node: Node;
  readonly log: Log;
  readonly follower: SealFollower;
  /** The stanzas that the server was started with. */
  readonly stanzas: readonly SealStanza[];
  /** The stanzas as they are now. Throws `invalid_request`. */
  read(): Promise<readonly SealStanza[]>;
  open(stanza: SealStanza): Promise<Seal>;
  /** The seals have changed. */
  changed(): void;
}

interface Opened {
  readonly stanza: SealStanza;
  readonly seal: Seal;
}

export class SealReload {
  readonly #deps: SealReloadDependencies;
  #opened: readonly Opened[];
  #last: Promise<void> = Promise.resolve();

  constructor(dependencies: SealReloadDependencies) {
    this.#deps = dependencies;
    this.#opened = dependencies.stanzas.flatMap((stanza) => {
      const seal = dependencies.seals.all.find(({ name }) => name === stanza.name);
      return seal ? [{ stanza, seal }] : [];
    });
  }

  /** One after the other. Throws `invalid_request` with what is wrong; then nothing was changed. */
  run(): Promise<void> {
    const run = this.#last.then(() => this.#run());
    this.#last = run.catch(() => {});
    return run;
  }

  async #run(): Promise<void> {
    const stanzas = await this.#deps.read();
    const next: Opened[] = [];
    try {
      for (const stanza of stanzas) next.push({ stanza, seal: await this.#sealOf(stanza) });
      await this.#change(next);
    } catch (error) {
      await this.#closeUnless(next, this.#opened);
      throw error;
    }
  }

  async #change(next: readonly Opened[]): Promise<void> {
    const before = this.#opened;
    const isSame =
      next.length === before.length && next.every(({ seal, stanza }, i) => isAsBefore(before[i], seal, stanza));
    if (isSame) return;
    const of = (disabled: boolean) => next.filter(({ stanza }) => stanza.disabled === disabled).map(({ seal }) => seal);
    await changeSeals(this.#deps, new SealSet(of(false), of(true)));
    this.#opened = next;
    this.#deps.changed();
    await this.#closeUnless(before, next);
  }

  /** The seal that is there already, where nothing has changed. */
  async #sealOf(stanza: SealStanza): Promise<Seal> {
    const known = this.#opened.find(({ stanza: old }) => isSameSeal(old, stanza));
    if (!known) return this.#deps.open(stanza);
    if (known.seal.kind !== "auto" || !namesSecret(stanza)) return known.seal;
    const again = await this.#deps.open(stanza);
    if (again.kind === "auto" && (await hasOtherKey(again, known.seal))) return again;
    if (again.kind === "auto") await again.close();
    return known.seal;
  }

  async #closeUnless(opened: readonly Opened[], kept: readonly Opened[]): Promise<void> {
    for (const { seal } of opened)
      if (seal.kind === "auto" && !kept.some((other) => other.seal === seal)) await seal.close();
  }
}

function isAsBefore(before: Opened | undefined, seal: Seal, stanza: SealStanza): boolean {
  return before?.seal === seal && before.stanza.disabled === stanza.disabled;
}

function isSameSeal(a: SealStanza, b: SealStanza): boolean {
  return a.type === b.type && a.name === b.name && isDeepStrictEqual(membersOf(a), membersOf(b));
}

/** What the seal itself is made of. */
function membersOf({ config }: SealStanza) {
  const { disabled: _disabled, priority: _priority, ...members } = config;
  return members;
}

function namesSecret(stanza: SealStanza): boolean {
  return /"(file|env):\/\//.test(JSON.stringify(stanza.config));
}

/** A key that cannot be asked for counts as another one: then the change says what is wrong with it. */
async function hasOtherKey(again: Extract<Seal, { kind: "auto" }>, known: Extract<Seal, { kind: "auto" }>) {
  try {
    return (await again.probe()).keyId !== (await known.probe()).keyId;
  } catch {
    return true;
  }
}
