// The words a policy grants, as bits, so that a rule answers with one AND. The sorted order is what clients see.
import type { Operation } from "../framework/context.ts";

/** In the order in which answers list them. "root" and "none" are not grantable and have no bit. */
export const CAPABILITIES = [
  "create",
  "delete",
  "deny",
  "list",
  "patch",
  "read",
  "scan",
  "subscribe",
  "sudo",
  "update",
] as const;
export type Capability = (typeof CAPABILITIES)[number];
/** A set of capabilities; see `bitOf`. */
export type CapabilityBits = number;

export function bitOf(capability: Capability): CapabilityBits {
  return 1 << CAPABILITIES.indexOf(capability);
}

export function bitsOf(capabilities: readonly Capability[]): CapabilityBits {
  return capabilities.reduce((bits, capability) => bits | bitOf(capability), 0);
}

export const DENY = bitOf("deny");
export const SUDO = bitOf("sudo");

export function isCapability(word: string): word is Capability {
  return CAPABILITIES.some((known) => known === word);
}

/** The words of a set; deny stands for itself alone, and nothing at all is deny as well. */
export function wordsOf(bits: CapabilityBits): readonly Capability[] {
  if (bits === 0 || (bits & DENY) !== 0) return ["deny"];
  return CAPABILITIES.filter((capability) => (bits & bitOf(capability)) !== 0);
}

/** Which capability an operation wants; help is told to whoever may read. */
export const OPERATION_BITS: Readonly<Record<Operation, CapabilityBits>> = {
  create: bitOf("create"),
  read: bitOf("read"),
  update: bitOf("update"),
  patch: bitOf("patch"),
  delete: bitOf("delete"),
  list: bitOf("list"),
  scan: bitOf("scan"),
  help: bitOf("read"),
};

/** What the old `policy = "…"` words stood for. */
export const OLD_POLICY_WORDS: ReadonlyMap<string, readonly Capability[]> = new Map([
  ["deny", ["deny"]],
  ["read", ["read", "list"]],
  ["write", ["create", "read", "update", "delete", "list"]],
  ["sudo", ["create", "read", "update", "delete", "list", "sudo"]],
]);
