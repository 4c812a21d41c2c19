// The seal-wrap keys: one for each generation, random, kept only as the seals' copies of it (as the root key is), in a
// record behind the barrier. Data keys are derived from them (data-keys.ts). Must not decide when to make or drop one.
//
//   core/sealwrap/keys   { version: 1, wrapping, generations: [{ generation, createdTime, copies: [WrapCopy] }] }
//
// A WrapCopy is a WrappedKey (seal/seal.ts) with the time at which it was made (RFC 3339). `wrapping`: whether critical
// values are wrapped when they are written. The last generation is the one that wraps. A worked example is in
// wrap-keys.test.ts.
import { boolean, type Infer, list, number, object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

export const WRAP_KEYS_KEY = "core/sealwrap/keys";
const VERSION = 1;

const copySchema = object({ seal: string, keyId: string, ciphertext: string, wrappedTime: string });
export type WrapCopy = Infer<typeof copySchema>;

const generationSchema = object({ generation: number, createdTime: string, copies: list(copySchema) });
export type WrapGeneration = Infer<typeof generationSchema>;

const keysSchema = object({ version: number, wrapping: boolean, generations: list(generationSchema) });
export type WrapKeys = Infer<typeof keysSchema>;

/** Cached: it holds what the seals have encrypted, nothing else. */
const keysKind = recordKind("seal-wrap keys", keysSchema, { cached: true });

/** Undefined: none were ever made. */
export function readWrapKeys(tx: Transaction): Promise<WrapKeys | undefined> {
  return tx.read(keysKind, WRAP_KEYS_KEY);
}

export function writeWrapKeys(tx: Transaction, keys: Omit<WrapKeys, "version">): void {
  tx.write(keysKind, WRAP_KEYS_KEY, { version: VERSION, ...keys });
}

/** The generation that wraps now; undefined when nothing is wrapped. */
export function currentGeneration(keys: WrapKeys | undefined): WrapGeneration | undefined {
  return keys?.wrapping ? keys.generations.at(-1) : undefined;
}

/** What the seals bind a copy to: no generation's copy opens as another's. */
export function wrapPurpose(generation: number): string {
  return `seal-wrap-${generation}`;
}
