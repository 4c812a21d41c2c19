// Which members of an etcd cluster there are: those of the configuration, and those that the cluster names itself, so that
// members that were added or replaced are found without a restart. Makes no calls; cluster.ts does.
import { randomInt } from "node:crypto";
import type { MemberResult } from "./messages.ts";

/** More than a cluster can have; what it names beyond is not looked at. */
const MEMBERS_MAX = 64;

export class Members {
  readonly #configured: readonly string[];
  #addresses: readonly string[];
  #next: number;

  /** `configured` are URLs, at least one. */
  constructor(configured: readonly string[]) {
    this.#configured = configured;
    this.#addresses = configured;
    // Servers begin at different members.
    this.#next = randomInt(configured.length);
  }

  /** All that may be tried, the cluster's own first. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** Whose turn it is. */
  get current(): string {
    return this.#addresses[this.#next % this.#addresses.length] ?? "";
  }

  skip(): void {
    this.#next++;
  }

  /**
   * Takes what the cluster says of itself. Those of the configuration stay, because a cluster may name addresses that
   * are not reachable from here; where they are all https, nothing else is taken. Gives whether anything changed.
   */
  learn(found: readonly MemberResult[]): boolean {
    const schemes = new Set(this.#configured.map((address) => new URL(address).protocol));
    const urls = found.filter(({ isLearner }) => !isLearner).flatMap(({ clientUrls }) => clientUrls);
    const usable = urls.flatMap((url) => {
      const parsed = URL.parse(url);
      return parsed !== null && schemes.has(parsed.protocol) ? [parsed.origin] : [];
    });
    const addresses = [...new Set([...usable.slice(0, MEMBERS_MAX), ...this.#configured])];
    if (addresses.join() === this.#addresses.join()) return false;
    const { current } = this;
    this.#addresses = addresses;
    this.#next = Math.max(0, addresses.indexOf(current));
    return true;
  }
}
