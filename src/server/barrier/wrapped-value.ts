// A value with the seal's layer on it: AES-256-GCM under a data key that only a seal opens (server/seal-wrap). The
// barrier's own layer comes around it (envelope.ts, version 2). This file owns the bytes and nothing else.
//
//   offset  size  meaning
//        0     1  version, 1
//        1    12  nonce, random
//       13     n  ciphertext
//     13+n    16  tag
//
// Additional data: the text "seal wrap", a zero byte, and the storage key in UTF-8. Readers take every version that was
// ever written; a worked example is in wrapped-value.test.ts. NIST SP 800-38D.
import { type KeyObject, randomBytes } from "node:crypto";
import { NONCE_BYTES, openBytes, sealBytes } from "./envelope.ts";

const VERSION = 1;
const HEAD = Buffer.from([VERSION]);

/** `nonce` is given only by the worked example; it must never be used twice. */
export function wrapValue(
  key: KeyObject,
  storageKey: string,
  plaintext: Uint8Array,
  nonce: Uint8Array = randomBytes(NONCE_BYTES),
): Uint8Array {
  return sealBytes(key, HEAD, additional(storageKey), plaintext, nonce);
}

/** Undefined when the bytes were changed, belong to another storage key or to another data key. */
export function unwrapValue(key: KeyObject, storageKey: string, wrapped: Uint8Array): Buffer | undefined {
  if (wrapped[0] !== VERSION) return undefined;
  return openBytes(key, HEAD.length, additional(storageKey), wrapped);
}

function additional(storageKey: string): Buffer {
  return Buffer.from(`seal wrap\0${storageKey}`, "utf8");
}
