// Blocks of addresses: whether an address is in one, whether one is within another. Over node:net's BlockList; a bare
// address is a block of one.
import { BlockList, isIP } from "node:net";
import { CofferError } from "./errors.ts";

interface Block {
  readonly address: string;
  readonly family: "ipv4" | "ipv6";
  readonly prefix: number;
}

const BITS = { ipv4: 32, ipv6: 128 } as const;

function parseBlock(text: string): Block | undefined {
  const slash = text.indexOf("/");
  const address = slash < 0 ? text : text.slice(0, slash);
  const version = isIP(address);
  if (version === 0) return undefined;
  const family = version === 4 ? "ipv4" : "ipv6";
  const prefix =
    slash < 0 ? BITS[family] : /^\d{1,3}$/.test(text.slice(slash + 1)) ? Number(text.slice(slash + 1)) : -1;
  return prefix >= 0 && prefix <= BITS[family] ? { address, family, prefix } : undefined;
}

/** Throws `invalid_request` for the first text that is neither a block nor an address. */
export function assertBlocks(name: string, texts: readonly string[]): void {
  for (const text of texts) {
    if (parseBlock(text) === undefined)
      throw new CofferError("invalid_request", `${name}: "${text}" is not a CIDR block such as 10.0.0.0/8`);
  }
}

/** Whether an address is in one of the blocks. An IPv4 address in IPv6 clothes is an IPv4 address. */
export function isWithin(blocks: readonly string[], address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  const block = parseBlock(plain);
  return block !== undefined && plain === block.address && listOf(blocks).check(block.address, block.family);
}

/** Whether every inner block lies in one of the outer ones. */
export function areWithin(inner: readonly string[], outer: readonly string[]): boolean {
  return inner.every((text) => {
    const block = parseBlock(text);
    return block !== undefined && outer.some((candidate) => contains(parseBlock(candidate), block));
  });
}

/** For logins: throws `permission_denied` unless there are no blocks or the address is in one. */
export function assertAddressAllowed(blocks: readonly string[], address: string): void {
  if (blocks.length > 0 && !isWithin(blocks, address)) throw new CofferError("permission_denied", "permission denied");
}

function contains(outer: Block | undefined, inner: Block): boolean {
  if (outer === undefined || outer.family !== inner.family || outer.prefix > inner.prefix) return false;
  const list = new BlockList();
  list.addSubnet(outer.address, outer.prefix, outer.family);
  return list.check(inner.address, inner.family);
}

function listOf(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const block = parseBlock(text);
    if (block !== undefined) list.addSubnet(block.address, block.prefix, block.family);
  }
  return list;
}
