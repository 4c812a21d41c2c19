// Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding), as much of it as etcd's messages use: a field
// is a varint `number << 3 | type`, then a varint (type 0), eight bytes (1), a length and bytes (2) or four bytes (5).
// Knows no message; those are in messages.ts.
import { CofferError } from "#common/errors.ts";

const VARINT = 0;
const EIGHT_BYTES = 1;
const LENGTH_DELIMITED = 2;
const FOUR_BYTES = 5;

/** A message being written: its pieces are joined once, when it is sent, however deep messages are nested. */
export class Message {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get parts(): readonly Uint8Array[] {
    return this.#parts;
  }

  /** Zero and false are what an absent field means, so they are not written. */
  number(field: number, value: number | bigint): this {
    return value === 0 || value === 0n ? this : this.oneof(field, value);
  }

  /** A number that is one choice of several: that it is this one must be written even when it is 0. */
  oneof(field: number, value: number | bigint): this {
    return this.#push(Buffer.from([...varint((field << 3) | VARINT), ...varint(value)]));
  }

  bytes(field: number, value: Uint8Array): this {
    this.#push(Buffer.from([...varint((field << 3) | LENGTH_DELIMITED), ...varint(value.length)]));
    return value.length === 0 ? this : this.#push(value);
  }

  message(field: number, value: Message): this {
    this.#push(Buffer.from([...varint((field << 3) | LENGTH_DELIMITED), ...varint(value.length)]));
    for (const part of value.parts) this.#push(part);
    return this;
  }

  #push(part: Uint8Array): this {
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }
}

/** Not for negative numbers: no field that is written has them. */
function varint(value: number | bigint): number[] {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
  return out;
}

/** Walks the fields of a message. Throws `unavailable` when the bytes are none. */
export class Fields {
  readonly #bytes: Buffer;
  #at = 0;
  #type = VARINT;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The next field's number, or 0 at the end. Each must be taken by `number`, `bytes` or `skip`. */
  next(): number {
    if (this.#at >= this.#bytes.length) return 0;
    const tag = this.#varint();
    this.#type = tag & 7;
    return Math.floor(tag / 8);
  }

  number(): number {
    if (this.#type !== VARINT) throw malformed();
    return this.#varint();
  }

  /** A window on the message, not a copy. */
  bytes(): Buffer {
    if (this.#type !== LENGTH_DELIMITED) throw malformed();
    return this.#take(this.#varint());
  }

  skip(): void {
    if (this.#type === VARINT) this.#skipVarint();
    else if (this.#type === LENGTH_DELIMITED) this.#take(this.#varint());
    else if (this.#type === EIGHT_BYTES) this.#take(8);
    else if (this.#type === FOUR_BYTES) this.#take(4);
    else throw malformed();
  }

  /** Exact to 2^53: revisions, lengths and sizes stay far below; identifiers, which do not, are skipped. */
  #varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw malformed();
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw malformed();
      if (byte < 0x80) return value;
    }
  }

  #skipVarint(): void {
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw malformed();
      if (byte < 0x80) return;
    }
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed();
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

const malformed = () =>
  new CofferError("unavailable", "etcd's answer is malformed; check that storage.address is etcd's");
