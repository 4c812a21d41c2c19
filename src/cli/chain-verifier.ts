// Follows the chains of an audit device through its lines and says what is wrong where. Pure: whether a line's MAC is
// true is told from outside (the server knows), the rest follows from what true lines say of themselves. The format is
// in common/audit-chain.ts.
//
// Each writer (one opening of the device by one process) counts 1, 2, 3, …; several may write at the same time.
import type { ChainLink } from "#common/audit-chain.ts";

export interface Place {
  readonly file: string;
  readonly line: number;
}
export interface Finding extends Place {
  /** A problem means that the log is not what was written; a note is about what may well be in order. */
  readonly kind: "problem" | "note";
  readonly message: string;
}

interface Writer {
  /** The highest number so far. */
  last: number;
  mac: string;
  /** Numbers below that have not come, with the place at which that showed. */
  readonly missing: Map<number, Place>;
}

/** Macs of the latest lines: a new writer continues from one of the last few. */
const RECENT_MAX = 10_000;
/** Missing lines are told one by one up to here, then no longer looked for. */
const MISSING_MAX = 100_000;

export class ChainVerifier {
  readonly #writers = new Map<string, Writer>();
  readonly #recent = new Set<string>();
  readonly #findings: Finding[] = [];
  #cut: Place | undefined;
  #lines = 0;

  /** `link` is undefined for a line without a chain. */
  add(place: Place, link: ChainLink | undefined, isTrue: boolean): void {
    this.#lines++;
    if (!link) {
      this.#settleCut();
      this.#cut = place;
      return;
    }
    if (!isTrue) {
      this.#settleCut();
      this.#problem(place, `was changed after it was written (${nameOf(link)})`);
      this.#countChanged(link);
      return;
    }
    const isFresh = this.#follow(place, link);
    // A line that is followed by one that begins anew, or comes again, was cut off by a crash or a full disk.
    this.#settleCut(link.start !== undefined || !isFresh);
    this.#remember(link);
  }

  /** What stands behind the last newline of a file. */
  addUnfinished(place: Place): void {
    this.#settleCut();
    this.#note(place, "is not finished: it is being written, or a write was cut off");
  }

  #settleCut(isExplained = false): void {
    const place = this.#cut;
    this.#cut = undefined;
    if (!place) return;
    if (isExplained) this.#note(place, "is not whole: a write was cut off");
    else this.#problem(place, "has no chain: it was added, or changed beyond recognition");
  }

  /** A changed line that stands where it should is changed, not missing as well. */
  #countChanged({ writer: id, number, mac }: ChainLink): void {
    const writer = this.#writers.get(id);
    if (!writer) this.#writers.set(id, { last: number, mac, missing: new Map() });
    else if (number === writer.last + 1) writer.last = number;
    else writer.missing.delete(number);
  }

  /** False for a line that was there before. */
  #follow(place: Place, link: ChainLink): boolean {
    const writer = this.#writers.get(link.writer);
    if (!writer) {
      this.#begin(place, link);
      this.#writers.set(link.writer, { last: link.number, mac: link.mac, missing: new Map() });
      return true;
    }
    if (link.number <= writer.last) return this.#late(place, link, writer);
    this.#noteMissing(place, link, writer);
    writer.last = link.number;
    writer.mac = link.mac;
    return true;
  }

  #begin(place: Place, link: ChainLink): void {
    const { number, previous, start } = link;
    if (start === "new") return;
    if (start === undefined) {
      this.#problem(place, `begins in the middle: lines before ${nameOf(link)} are missing`);
      return;
    }
    if (this.#recent.has(previous)) return;
    if (start === "continued") {
      if (previous !== "") this.#problem(place, "continues from a line that is not there: lines before it are missing");
      else this.#note(place, "continues after lines without a chain, which cannot be verified");
      return;
    }
    const why = start === "rotated" ? "in another file" : "in this file before it was cut";
    this.#note(place, `is number ${number} of its writer: the lines before stood ${why}; give that file first`);
  }

  /** A number that is not higher than the last: it was missing before, or it comes twice. */
  #late(place: Place, link: ChainLink, writer: Writer): boolean {
    if (writer.missing.delete(link.number)) {
      this.#problem(place, `stands in the wrong place (${nameOf(link)} comes after number ${writer.last})`);
      return true;
    }
    this.#note(place, `stands there twice (${nameOf(link)}): the device was given it again, or somebody copied it`);
    return false;
  }

  #noteMissing(place: Place, { number }: ChainLink, writer: Writer): void {
    if (number - writer.last - 1 > MISSING_MAX) {
      this.#problem(place, `comes after ${number - writer.last - 1} lines that are missing`);
      return;
    }
    for (let missing = writer.last + 1; missing < number; missing++) writer.missing.set(missing, place);
  }

  #remember({ mac }: ChainLink): void {
    this.#recent.add(mac);
    if (this.#recent.size <= RECENT_MAX) return;
    const [oldest] = this.#recent;
    if (oldest !== undefined) this.#recent.delete(oldest);
  }

  /** The number of a writer's last line, for comparing with what the server says it wrote. */
  lastOf(writer: string): number | undefined {
    return this.#writers.get(writer)?.last;
  }

  /** What was found, in the order of the lines, and how many lines there were. */
  finish(): { readonly lines: number; readonly findings: readonly Finding[] } {
    this.#settleCut();
    for (const [id, { missing }] of this.#writers) this.#tellMissing(id, missing);
    return { lines: this.#lines, findings: this.#findings };
  }

  /** Neighbours are told together. */
  #tellMissing(writer: string, missing: ReadonlyMap<number, Place>): void {
    const numbers = [...missing.keys()].sort((a, b) => a - b);
    for (let i = 0; i < numbers.length; ) {
      const first = numbers[i] ?? 0;
      let last = first;
      while (numbers[++i] === last + 1) last++;
      const place = missing.get(first);
      const [which, were] =
        first === last ? [`line number ${first}`, "was"] : [`lines number ${first} to ${last}`, "were"];
      if (place) this.#problem(place, `comes after what is missing: ${which} of writer ${writer} ${were} removed`);
    }
  }

  #problem(place: Place, message: string): void {
    this.#findings.push({ ...place, kind: "problem", message });
  }

  #note(place: Place, message: string): void {
    this.#findings.push({ ...place, kind: "note", message });
  }
}

function nameOf({ writer, number }: ChainLink): string {
  return `number ${number} of writer ${writer}`;
}
