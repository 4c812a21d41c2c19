// Looks after the seals while the server runs: probes each by wrapping and unwrapping a nonce, and wraps the keys anew by
// a seal that was added, has come back with a copy that is over, or uses another key than before; forgets the copies of
// seals that were disabled. A probe that fails is told and counted and changes nothing else: a server that is unsealed
// needs no seal to go on. Of the workers of a server one does it, and tells the others who ask (siblings.ts); servers on
// one store each look for themselves, and their commits check versions.
import { randomInt } from "node:crypto";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { type AutoSeal, SealError } from "../seal/seal.ts";
import type { Node } from "./node.ts";
import type { SealFollower } from "./seal-change.ts";
import { isComplete, type SealCopies } from "./seal-copies.ts";
import type { SealSet } from "./seal-set.ts";
import type { SealKeys } from "./seal-store.ts";
import type { SharedSealWatch } from "./siblings.ts";

/** Between two looks while all is well: each costs two calls of a KMS and two lines in its log. */
const HEALTHY_MILLIS = 600_000;
/** Between two looks while a seal does not answer, or has not got its copies. */
const UNHEALTHY_MILLIS = 30_000;
/** A probe that takes longer has failed. */
export const PROBE_MILLIS_MAX = 20_000;
const RANDOM_STEPS = 1 << 16;

/** What the last probe of a seal said. */
export interface SealHealth {
  readonly name: string;
  readonly type: string;
  /** Undefined: not probed yet. */
  readonly isHealthy: boolean | undefined;
  /** Since when it has been as it is. */
  readonly sinceMillis: Millis;
  readonly probedMillis: Millis | undefined;
  /** The key it wraps by; "" as long as nobody knows. */
  readonly keyId: string;
  readonly latencyMillis: Millis | undefined;
  readonly fault: string | undefined;
  readonly message: string | undefined;
  /** What is known of the machines behind the seal. */
  readonly machinery: JsonObject | undefined;
}

export interface SealWatchDependencies {
  readonly seals: SealSet;
  readonly copies: SealCopies;
  readonly node: Pick<Node, "state" | "reload">;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the server's other workers. */
  readonly shared?: SharedSealWatch | undefined;
  /** 0 (included) to 1 (excluded); for tests. */
  readonly random?: () => number;
}

export class SealWatch {
  readonly #deps: SealWatchDependencies;
  readonly #health = new Map<AutoSeal, SealHealth>();
  /** Seals whose copies have to be looked at, because they did not answer before. */
  readonly #returned = new Set<AutoSeal>();
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  #follower: SealFollower | undefined;
  #listeners: ((health: SealHealth) => void)[] = [];

  constructor(dependencies: SealWatchDependencies) {
    this.#deps = dependencies;
  }

  /** Told of each probe from now on. */
  onProbe(listener: (health: SealHealth) => void): void {
    this.#listeners.push(listener);
  }

  /** Told when seals have wrapped the keys anew, so that what else they have wrapped follows. */
  onRenewed(follower: SealFollower): void {
    this.#follower = follower;
  }

  /** Of the seals that open by themselves and are not disabled, in order of priority; as this process found them. */
  get ownHealth(): readonly SealHealth[] {
    return this.#deps.seals.autos.map((seal) => ({
      ...(this.#health.get(seal) ?? unknown(seal, this.#deps.clock.now())),
      machinery: seal.machinery?.(),
    }));
  }

  /** The same as the worker found them that looks after the seals. */
  async health(): Promise<readonly SealHealth[]> {
    const told = this.#isMine ? undefined : await this.#deps.shared?.health();
    return this.ownHealth.map((own) => told?.find(({ name }) => name === own.name) ?? own);
  }

  get #isMine(): boolean {
    return this.#deps.shared?.mine.aborted ?? true;
  }

  /** Runs until the signal aborts. */
  start(signal: AbortSignal): void {
    this.#running ??= this.#run(signal);
  }

  async stopped(): Promise<void> {
    await this.#running;
  }

  /** Something has changed: the next look is now. */
  wake(): void {
    this.#wake.abort("something has changed");
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const isWell = this.#isMine ? await this.look(signal) : await this.#follow();
      if (signal.aborted) return;
      const { shared, clock } = this.#deps;
      const appointed = shared && !shared.mine.aborted ? [shared.mine] : [];
      await clock.sleep(this.#pause(isWell), AbortSignal.any([signal, this.#wake.signal, ...appointed]));
    }
  }

  /** Between three quarters and five quarters of the time, so that many servers do not knock at once. */
  #pause(isWell: boolean): Millis {
    const random = this.#deps.random ?? (() => randomInt(RANDOM_STEPS) / RANDOM_STEPS);
    const base = isWell ? HEALTHY_MILLIS : UNHEALTHY_MILLIS;
    return Math.round(base * (0.75 + random() / 2));
  }

  /** What a worker does while another one looks after the seals. True when it worked. Never throws. */
  async #follow(): Promise<boolean> {
    try {
      if (this.#deps.node.state === "unsealed") await this.#deps.node.reload();
      return true;
    } catch (error) {
      this.#deps.log.debug("cannot read what the seals have wrapped", { error: messageOf(error) });
      return false;
    }
  }

  /** One look at all seals. True when all are well and have their copies. Never throws. */
  async look(signal: AbortSignal): Promise<boolean> {
    const { seals, log } = this.#deps;
    const probed = await Promise.all(seals.autos.map((seal) => this.#probe(seal, signal)));
    if (signal.aborted) return true;
    let isWell = probed.every(({ isHealthy }) => isHealthy);
    if (this.#deps.node.state !== "unsealed") return isWell;
    try {
      await this.#deps.node.reload();
      if (!(await this.#mend())) isWell = false;
    } catch (error) {
      isWell = false;
      log.warn("the seals' copies of the keys are not as they should be; the next look tries again", {
        error: messageOf(error),
      });
    }
    return isWell;
  }

  async #probe(seal: AutoSeal, signal: AbortSignal): Promise<SealHealth> {
    const { clock, log } = this.#deps;
    const before = this.#health.get(seal);
    const health = await this.#ask(seal, before, signal);
    if (signal.aborted) return health;
    this.#health.set(seal, health);
    const facts = { seal: seal.name, fault: health.fault, reason: health.message };
    if (health.isHealthy === false && before?.isHealthy !== false) log.warn("a seal does not answer", facts);
    if (health.isHealthy && before?.isHealthy === false) {
      this.#returned.add(seal);
      log.info("a seal answers again", { seal: seal.name, downMillis: clock.now() - before.sinceMillis });
    }
    for (const listener of this.#listeners) listener(health);
    return health;
  }

  async #ask(seal: AutoSeal, before: SealHealth | undefined, signal: AbortSignal): Promise<SealHealth> {
    const { clock } = this.#deps;
    const late = new AbortController();
    const now = clock.now();
    const since = (isHealthy: boolean) => (before?.isHealthy === isHealthy ? before.sinceMillis : now);
    const common = { name: seal.name, type: seal.type, probedMillis: now, machinery: undefined };
    try {
      const found = await within(clock, PROBE_MILLIS_MAX, seal.probe(AbortSignal.any([signal, late.signal])));
      if (found === "late") throw new SealError("Unreachable", "it has not answered in time", { transient: true });
      return {
        ...{ ...common, ...found, isHealthy: true, sinceMillis: since(true) },
        ...{ fault: undefined, message: undefined },
      };
    } catch (error) {
      late.abort("late");
      const fault = error instanceof SealError ? error.fault : "Failed";
      const failed = { fault, message: messageOf(error), keyId: before?.keyId ?? "", latencyMillis: undefined };
      return { ...common, ...failed, isHealthy: false, sinceMillis: since(false) };
    }
  }

  /** True when every seal that works has its copies. */
  async #mend(): Promise<boolean> {
    const { seals, copies, log } = this.#deps;
    const { keys } = await copies.stored();
    const working = seals.autos.filter((seal) => this.#health.get(seal)?.isHealthy);
    const wanting = [];
    for (const seal of working) if (await this.#isWanting(seal, keys)) wanting.push(seal);
    await copies.renew(wanting, seals.openers);
    if (wanting.length > 0) {
      const names = wanting.map(({ name }) => name);
      await this.#follower?.follow(
        new Set(names),
        seals.openers.map(({ name }) => name),
      );
      log.info("the keys were wrapped anew", { seals: names.join(", ") });
    }
    for (const seal of working) this.#returned.delete(seal);
    await this.#forgetRetired(working, keys);
    return seals.autos.every((seal) => working.includes(seal));
  }

  async #isWanting(seal: AutoSeal, keys: SealKeys): Promise<boolean> {
    if (!isComplete(keys, seal.name)) return true;
    const keyId = this.#health.get(seal)?.keyId;
    if ([...keys.root, ...keys.recovery].some((copy) => copy.seal === seal.name && copy.keyId !== keyId)) return true;
    return this.#returned.has(seal) && !(await this.#deps.copies.holds(seal));
  }

  /** What is disabled has done its work once another seal is proved to hold the keys. */
  async #forgetRetired(working: readonly AutoSeal[], { root, recovery }: SealKeys): Promise<void> {
    const { seals, copies, log } = this.#deps;
    const retired = seals.retiredAutos.map(({ name }) => name);
    const names = retired.filter((name) => [...root, ...recovery].some(({ seal }) => seal === name));
    if (names.length === 0) return;
    for (const seal of working) {
      if (!(await copies.holds(seal))) continue;
      await copies.drop(names);
      log.info("disabled seals open the store no more", { seals: names.join(", "), provedBy: seal.name });
      return;
    }
  }
}

function unknown({ name, type }: AutoSeal, now: Millis): SealHealth {
  const nothing = { probedMillis: undefined, latencyMillis: undefined, fault: undefined, message: undefined };
  const machinery = undefined;
  return { name, type, isHealthy: undefined, sinceMillis: now, keyId: "", machinery, ...nothing };
}
