// The seals of this process as its configuration has them now. The set is replaced whole when the configuration is read
// again, so whoever needs a seal asks here at that moment and keeps none. Knows nothing of storage.
import type { AutoSeal, Seal, ShamirSeal } from "../seal/seal.ts";

export class SealSet {
  #active: readonly Seal[];
  #retired: readonly Seal[];

  /** `active` in order of priority; `retired` still open what they once wrapped, and wrap nothing new. */
  constructor(active: readonly Seal[], retired: readonly Seal[] = []) {
    this.#active = active;
    this.#retired = retired;
  }

  get active(): readonly Seal[] {
    return this.#active;
  }
  get retired(): readonly Seal[] {
    return this.#retired;
  }
  get all(): readonly Seal[] {
    return [...this.#active, ...this.#retired];
  }
  /** Those that wrap and open by themselves. */
  get autos(): readonly AutoSeal[] {
    return this.#active.filter(isAuto);
  }
  get retiredAutos(): readonly AutoSeal[] {
    return this.#retired.filter(isAuto);
  }
  /** Those that open by themselves, in the order in which they are asked. */
  get openers(): readonly AutoSeal[] {
    return this.all.filter(isAuto);
  }
  /** The seal that people open, retired ones last. */
  get shamir(): ShamirSeal | undefined {
    return this.all.find(isShamir);
  }
  get activeShamir(): ShamirSeal | undefined {
    return this.#active.find(isShamir);
  }

  /** From now on these. The others are for the caller to close. */
  replace(active: readonly Seal[], retired: readonly Seal[]): void {
    this.#active = active;
    this.#retired = retired;
  }
}

function isAuto(seal: Seal): seal is AutoSeal {
  return seal.kind === "auto";
}

function isShamir(seal: Seal): seal is ShamirSeal {
  return seal.kind === "shamir";
}
