// What is critical: gets the seal's layer where there is a seal for it. The server's own keys always; of a mount what its
// backend names, while the mount has seal_wrap.
import type { Transaction } from "../barrier/transaction.ts";
import { readWrappedPrefixes } from "../mounts/wrapped-mount.ts";

/** Keys that sign, or by which tokens and secrets are told apart: whoever has one can forge or guess. */
const ALWAYS: ReadonlySet<string> = new Set([
  "core/token-salt", // HMAC key of tokens
  "core/sealed-text-key", // of batch tokens
  "core/wrapping-key", // signs wrapping tokens
  "core/audit", // HMAC salts of the devices; the chains' keys are derived from them
]);
/** Signing keys of OIDC and TOTP seeds, of every namespace; shares and new keys of ceremonies under way. */
const ALWAYS_BELOW = /^(?:(?:ns\/[^/]+\/)?identity\/(?:oidc\/key-material|mfa\/secret)|core\/ceremony)\//;

export function isAlwaysCritical(storageKey: string): boolean {
  return ALWAYS.has(storageKey) || ALWAYS_BELOW.test(storageKey);
}

/** Whether what stands at a storage key is to be wrapped; part of the transaction's read set. */
export async function isCritical(tx: Transaction, storageKey: string): Promise<boolean> {
  const ofMount = /^mount\/([^/]+)\/(.*)$/s.exec(storageKey);
  if (!ofMount) return isAlwaysCritical(storageKey);
  const [, uuid = "", path = ""] = ofMount;
  return (await readWrappedPrefixes(tx, uuid)).some((prefix) => path.startsWith(prefix));
}
