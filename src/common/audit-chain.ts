// The chain of an audit device's lines: how a line carries it. The server writes it, `coffer audit verify` reads it; the
// key of the MACs never leaves the server.
//
//   {"time":…, "chain":{"writer":"W","number":N,"previous":"P","start":"S","mac":"M"}}
//
//   W  11 characters, base64url of 8 random bytes: one opening of the device by one process
//   N  1, 2, 3, … of that writer
//   P  the MAC of the line before, 43 characters; "" when there is none
//   S  only where a file or a writer begins: why the line before is not this writer's in this file
//      "new" nothing was there, "continued" the file was there, "rotated" the file is another, "truncated" it was cut
//   M  base64url of HMAC-SHA-256 over the SHA-256 of all bytes of the line before `,"mac":"`
import { hash } from "node:crypto";

export const CHAIN_STARTS = ["new", "continued", "rotated", "truncated"] as const;
export type ChainStart = (typeof CHAIN_STARTS)[number];

export interface ChainPlace {
  readonly writer: string;
  readonly number: number;
  readonly previous: string;
  readonly start?: ChainStart | undefined;
}
export interface ChainLink extends ChainPlace {
  /** SHA-256 of what the MAC covers, 32 bytes. */
  readonly digest: Buffer;
  readonly mac: string;
}

/** Bytes of a digest and of a MAC. */
export const DIGEST_BYTES = 32;
/** Digest and MAC, as `sys/audit-verify` takes them. */
export const PROOF_BYTES = 2 * DIGEST_BYTES;
/** Proofs of one request: 256 KiB, well below the limit of bodies. */
export const PROOFS_MAX = 4096;

const MAC_HEAD = ',"mac":"';
const MAC_CHARACTERS = 43;
const MAC_TAIL = '"}}';
/** From `,"mac":"` to the end of the line. */
const TAIL_CHARACTERS = MAC_HEAD.length + MAC_CHARACTERS + MAC_TAIL.length;
/** The longest chain member: 15 digits and a start. */
const CHAIN_CHARACTERS_MAX = 240;
const CHAIN =
  /,"chain":\{"writer":"([\w-]{11})","number":([1-9]\d{0,14}),"previous":"([\w-]{43}|)"(?:,"start":"([a-z]+)")?,"mac":"([\w-]{43})"\}\}$/;

/** What a chain adds to a line at most, for devices that limit a line's length. */
export const CHAIN_BYTES_MAX = CHAIN_CHARACTERS_MAX;

/** A line with its chain but for the MAC. `entry` is a JSON object that is not empty, perhaps behind a prefix. */
export function withPlace(entry: string, { writer, number, previous, start }: ChainPlace): string {
  const reason = start === undefined ? "" : `,"start":"${start}"`;
  return `${entry.slice(0, -1)},"chain":{"writer":"${writer}","number":${number},"previous":"${previous}"${reason}`;
}

/** SHA-256 of the covered part of a line. */
export function digestOf(covered: string | Uint8Array): Buffer {
  return hash("sha256", covered, "buffer");
}

/** The finished line, without a newline. */
export function withMac(covered: string, mac: string): string {
  return `${covered}${MAC_HEAD}${mac}${MAC_TAIL}`;
}

/** The chain of a line (without its newline), or undefined when it has none. Says nothing of whether it is true. */
export function readLink(line: Uint8Array): ChainLink | undefined {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  const tail = bytes.subarray(Math.max(0, bytes.length - CHAIN_CHARACTERS_MAX)).toString("latin1");
  const match = CHAIN.exec(tail);
  if (!match) return undefined;
  const [, writer = "", number = "", previous = "", word, mac = ""] = match;
  const start = CHAIN_STARTS.find((known) => known === word);
  if (word !== undefined && start === undefined) return undefined;
  const digest = digestOf(bytes.subarray(0, bytes.length - TAIL_CHARACTERS));
  return { writer, number: Number(number), previous, start, digest, mac };
}
