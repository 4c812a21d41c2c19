// The search for an order of operations that explains their answers, by Wing and Gong ("Testing and Verifying Concurrent
// Objects", 1993) with the memory of Lowe ("Testing for linearizability", 2017): a set of operations that led to a state
// before is not tried again. Operations of unknown outcome may be taken at any time after their beginning, or never.
import type { Model, Operation } from "./operation.ts";

/** The end of one order in which every operation whose answer is known has its place. */
export interface Final<State> {
  readonly state: State;
  /** Whether the operation has happened, by its index. */
  has(index: number): boolean;
  /** Indexes in order. */
  readonly order: readonly number[];
}

/** More is a history that this search is not made for; it has not been seen with unique values. */
const STEPS_MAX = 20_000_000;

export class SearchTooLong extends Error {}

/**
 * Every distinct end (state and set of operations) that an order of these operations can have; none when no order
 * explains the answers. Throws SearchTooLong.
 */
export function* finals<State, Input>(
  operations: readonly Operation<Input>[],
  model: Model<State, Input>,
  initial: State = model.initial,
): Generator<Final<State>> {
  const events = new Events(operations);
  const seen = new Seen();
  const taken = new Bits(operations.length);
  const path: { readonly call: Event; readonly before: State }[] = [];
  let state = initial;
  let open = operations.filter(({ output }) => output !== undefined).length;
  const final = (): Final<State> => ({ state, has: taken.copy(), order: path.map(({ call }) => call.index) });
  if (open === 0) yield final();
  let at = events.first;
  for (let steps = 0; ; steps++) {
    if (steps > STEPS_MAX) throw new SearchTooLong(`no decision after ${STEPS_MAX} steps`);
    if (at?.isCall) {
      const { input, output } = operations[at.index] ?? unreachable();
      const next = model.apply(state, input);
      const name = model.nameOf(next.state);
      // One of unknown outcome that changes nothing may as well not have happened.
      const fits = output === undefined ? name !== model.nameOf(state) : output === next.output;
      taken.flip(at.index);
      if (fits && seen.add(taken, name)) {
        path.push({ call: at, before: state });
        state = next.state;
        events.lift(at);
        if (output !== undefined) open--;
        if (open === 0) yield final();
        at = events.first;
      } else {
        taken.flip(at.index);
        at = at.next;
      }
      continue;
    }
    // Somebody has been answered who has no place yet, or nobody is left: the last choice was wrong or is used up.
    const last = path.pop();
    if (last === undefined) return;
    state = last.before;
    taken.flip(last.call.index);
    events.putBack(last.call);
    if (operations[last.call.index]?.output !== undefined) open++;
    at = last.call.next;
  }
}

interface Event {
  readonly index: number;
  readonly isCall: boolean;
  /** Of a call whose outcome is known. */
  answer: Event | undefined;
  before: Event | undefined;
  next: Event | undefined;
}

/** Beginnings and ends in the order of time, in a list from which pairs can be taken and put back. */
class Events {
  #first: Event | undefined;

  constructor(operations: readonly Operation<unknown>[]) {
    const timed: { time: number; event: Event }[] = [];
    const newEvent = (index: number, isCall: boolean): Event => ({
      ...{ index, isCall, answer: undefined, before: undefined, next: undefined },
    });
    for (const [index, { begin, end, output }] of operations.entries()) {
      const call = newEvent(index, true);
      timed.push({ time: begin, event: call });
      if (output === undefined) continue;
      call.answer = newEvent(index, false);
      timed.push({ time: end, event: call.answer });
    }
    // At the same time, beginnings come first: the two may have overlapped.
    timed.sort((a, b) => a.time - b.time || Number(b.event.isCall) - Number(a.event.isCall));
    let last: Event | undefined;
    for (const { event } of timed) {
      event.before = last;
      if (last === undefined) this.#first = event;
      else last.next = event;
      last = event;
    }
  }

  get first(): Event | undefined {
    return this.#first;
  }

  lift(call: Event): void {
    this.#unlink(call);
    if (call.answer) this.#unlink(call.answer);
  }

  /** In the opposite order of `lift`. */
  putBack(call: Event): void {
    if (call.answer) this.#link(call.answer);
    this.#link(call);
  }

  #unlink({ before, next }: Event): void {
    if (before) before.next = next;
    else this.#first = next;
    if (next) next.before = before;
  }

  #link(event: Event): void {
    if (event.before) event.before.next = event;
    else this.#first = event;
    if (event.next) event.next.before = event;
  }
}

const WORD = 32;

class Bits {
  readonly words: Uint32Array;

  constructor(length: number) {
    this.words = new Uint32Array(Math.ceil(length / WORD));
  }

  flip(index: number): void {
    const word = Math.floor(index / WORD);
    this.words[word] = (this.words[word] ?? 0) ^ (1 << (index % WORD));
  }

  /** A test of membership as of now. */
  copy(): (index: number) => boolean {
    const words = this.words.slice();
    return (index) => (((words[Math.floor(index / WORD)] ?? 0) >>> (index % WORD)) & 1) === 1;
  }
}

/** Sets of operations with the state they led to; compared in full, so that no collision of hashes can hide an order. */
class Seen {
  readonly #byHash = new Map<string, Uint32Array[]>();

  /** False when it was there already. */
  add({ words }: Bits, state: string): boolean {
    const hash = `${hashOf(words)} ${state}`;
    const known = this.#byHash.get(hash);
    if (known === undefined) this.#byHash.set(hash, [words.slice()]);
    else if (known.some((other) => equal(other, words))) return false;
    else known.push(words.slice());
    return true;
  }
}

const FNV_PRIME = 16_777_619;

function hashOf(words: Uint32Array): number {
  let hash = 0;
  for (const word of words) hash = Math.imul(hash ^ word, FNV_PRIME);
  return hash;
}

function equal(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function unreachable(): never {
  throw new Error("an event belongs to no operation");
}
