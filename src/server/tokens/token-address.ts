// From where a token may be used: its own blocks of addresses and those of every token it descends from.
import { isWithin } from "#common/cidr.ts";
import type { TokenRecord } from "./token-record.ts";

export function mayComeFrom(token: Pick<TokenRecord, "boundCidrs" | "addressLimits">, address: string): boolean {
  return [token.boundCidrs, ...token.addressLimits].every((blocks) => blocks.length === 0 || isWithin(blocks, address));
}

/** What a child inherits. */
export function inheritedLimits(
  parent: Pick<TokenRecord, "boundCidrs" | "addressLimits">,
): readonly (readonly string[])[] {
  return parent.boundCidrs.length === 0 ? parent.addressLimits : [...parent.addressLimits, parent.boundCidrs];
}
