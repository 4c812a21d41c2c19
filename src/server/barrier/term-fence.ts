// The fence: the one record that changes whenever a term begins. A commit that encrypts expects the version that it had
// when its keyring was read, so that a process that still has an older keyring commits nothing under it. The keyring
// itself cannot be that record: it changes with every booking of encryptions (open-keyring.ts). Owns the record's bytes.
//
//   core/keyring-term   an envelope (envelope.ts) under the active term, of one byte: version, 1
//
// Its head names the term and its tag proves it. A new store has none until its keyring changes for the first time;
// "absent" is what commits expect then. Why: docs/adr/0025-retired-terms.md.
import { envelopeTerm, openEnvelope, sealEnvelope } from "./envelope.ts";
import type { Keyring } from "./keyring.ts";

export const FENCE_KEY = "core/keyring-term";
const CONTENT = Buffer.of(1);

/** The fence of a keyring's active term. */
export function fenceOf({ active, activeKey }: Keyring): Uint8Array {
  return sealEnvelope(activeKey, active.term, FENCE_KEY, CONTENT);
}

/** Whether a stored fence is that of the keyring's active term. */
export function isFenceOf({ active, activeKey }: Keyring, stored: Uint8Array): boolean {
  return envelopeTerm(stored) === active.term && openEnvelope(activeKey, FENCE_KEY, stored) !== undefined;
}
