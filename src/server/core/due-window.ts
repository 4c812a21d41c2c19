// Which of the items that are due one node looks at next. Where few are due, all of them, in any order. Where many are,
// a stretch that begins at random: several nodes then hardly ever meet, without a record that says who does what.
// Measured in background-nodes.test.ts. An index key is `<prefix><unix seconds, 12 digits>/<hex digits…>`.
import { randomBytes, randomInt } from "node:crypto";
import type { Transaction } from "../barrier/transaction.ts";

/** Keys in memory at a time, however many are due. */
export const DUE_PAGE = 200;
/** A random time may lie behind all that is due: then nearer to the oldest, again and again. */
const TRIES_MAX = 12;
/** Enough to begin anywhere among millions of one second. */
const HEX_BYTES = 8;

export interface Due {
  readonly keys: readonly string[];
  /** There were as many as one look takes, so there may be more. */
  readonly more: boolean;
}

/** Keys of what is due at `nowSeconds`, in random order, at most DUE_PAGE. */
export async function dueWindow(
  tx: Transaction,
  bucket: (seconds: number) => string,
  nowSeconds: number,
): Promise<Due> {
  const to = bucket(nowSeconds + 1);
  const scan = (from: string) => tx.scan({ from, to, limit: DUE_PAGE });
  const oldest = await scan(bucket(0));
  if (oldest.length < DUE_PAGE) return { keys: shuffled(oldest), more: false };
  const first = secondsOf(oldest[0] ?? "", bucket);
  for (let [attempt, end] = [0, nowSeconds]; attempt < TRIES_MAX; attempt++) {
    const at = randomInt(first, end + 1);
    const keys = await scan(`${bucket(at)}/${randomBytes(HEX_BYTES).toString("hex")}`);
    // From the end on with the oldest, as in a ring.
    const all = [...new Set([...keys, ...oldest])].slice(0, DUE_PAGE);
    if (keys.length > 0) return { keys: shuffled(all), more: true };
    end = at;
  }
  return { keys: shuffled(oldest), more: true };
}

function secondsOf(key: string, bucket: (seconds: number) => string): number {
  const length = bucket(0).length;
  return Number(key.slice(length - 12, length));
}

function shuffled(keys: readonly string[]): readonly string[] {
  const mixed = [...keys];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = randomInt(i + 1);
    const [a, b] = [mixed[i], mixed[j]];
    if (a !== undefined && b !== undefined) [mixed[i], mixed[j]] = [b, a];
  }
  return mixed;
}
