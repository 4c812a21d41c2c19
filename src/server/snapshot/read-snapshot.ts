// Reads a snapshot and checks it on the way: format, order, every checksum, the trailer. Whoever reads may act on the
// entries only after the last one has come and `finish` has looked at the seal of the whole.
import { createHash, createHmac, type Hash, type KeyObject, timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { CofferError, messageOf } from "#common/errors.ts";
import type { StoredEntry } from "../storage/storage.ts";
import {
  chunkName,
  damaged,
  decodeEntries,
  decodeMeta,
  decodeSealed,
  decodeTrailer,
  MEMBER_BYTES_MAX,
  META,
  SEALED_SUMS,
  type SealedSums,
  type SnapshotMeta,
  type SnapshotTrailer,
  SUMS,
  sumLine,
  TRAILER,
} from "./format.ts";
import { type Member, readTar } from "./tar.ts";

/** What is known once all of a snapshot was read and its checksums are right. */
export interface CheckedSnapshot {
  readonly meta: SnapshotMeta;
  readonly trailer: SnapshotTrailer;
  /** The bytes that the seal is over. */
  readonly sums: Buffer;
  readonly sealed: SealedSums;
}

export class SnapshotReader {
  readonly #members: AsyncGenerator<Member>;
  readonly #all: Hash = createHash("sha256");
  #sums: string[] = [];
  #checked: CheckedSnapshot | undefined;
  #entries = 0;
  #bytes = 0;

  constructor(compressed: AsyncIterable<Uint8Array>) {
    this.#members = readTar(gunzip(compressed), MEMBER_BYTES_MAX);
  }

  get entries(): number {
    return this.#entries;
  }

  /** What stands at the beginning; must be asked for first. */
  async meta(): Promise<SnapshotMeta> {
    try {
      const member = await this.#next();
      if (member.name !== META) throw damaged(`it does not begin with ${META}`);
      this.#sum(member);
      return decodeMeta(member.content);
    } catch (error) {
      await this.#members.return(undefined);
      throw error;
    }
  }

  /** The entries, a member at a time. Throws `invalid_request` where a snapshot is not whole. */
  async *chunks(meta: SnapshotMeta): AsyncGenerator<readonly StoredEntry[]> {
    try {
      yield* this.#chunks(meta);
    } finally {
      await this.#members.return(undefined);
    }
  }

  async *#chunks(meta: SnapshotMeta): AsyncGenerator<readonly StoredEntry[]> {
    let after = "";
    let member = await this.#next();
    for (let index = 0; member.name === chunkName(index); index++) {
      this.#sum(member);
      this.#all.update(member.content);
      this.#bytes += member.content.length;
      const entries = decodeEntries(member.content, after);
      this.#entries += entries.length;
      after = entries.at(-1)?.key ?? after;
      yield entries;
      member = await this.#next();
    }
    this.#checked = await this.#end(meta, member);
  }

  /** After the last chunk. */
  finish(): CheckedSnapshot {
    if (this.#checked === undefined) throw new Error("a snapshot is read to its end first");
    return this.#checked;
  }

  async #end(meta: SnapshotMeta, member: Member): Promise<CheckedSnapshot> {
    if (member.name !== TRAILER) throw damaged(`it has ${JSON.stringify(member.name)} where ${TRAILER} should be`);
    this.#sum(member);
    const trailer = decodeTrailer(member.content);
    const counted = { entries: this.#entries, bytes: this.#bytes, sha256: this.#all.digest("hex") };
    if (trailer.entries !== counted.entries || trailer.bytes !== counted.bytes || trailer.sha256 !== counted.sha256)
      throw damaged("its entries are not those that its trailer names");
    const sums = await this.#next();
    if (sums.name !== SUMS || sums.content.toString("utf8") !== this.#sums.join(""))
      throw damaged("its checksums are not those of its content");
    const sealed = await this.#next();
    if (sealed.name !== SEALED_SUMS) throw damaged(`${SEALED_SUMS} is missing`);
    if ((await this.#members.next()).done !== true) throw damaged("there is more behind its end");
    return { meta, trailer, sums: sums.content, sealed: decodeSealed(sealed.content) };
  }

  #sum({ name, content }: Member): void {
    this.#sums.push(sumLine(createHash("sha256").update(content).digest("hex"), name));
  }

  async #next(): Promise<Member> {
    const { done, value } = await this.#members.next();
    if (done) throw damaged("it ends too early");
    return value;
  }
}

/** Whether the snapshot was made by who had this key. */
export function isAuthentic({ sums, sealed }: CheckedSnapshot, key: KeyObject): boolean {
  const expected = createHmac("sha256", key).update(sums).digest();
  const given = Buffer.from(sealed.mac, "base64");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

async function* gunzip(compressed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = Readable.from(compressed);
  const plain = createGunzip();
  let failure: unknown;
  source.on("error", (error) => {
    failure = error;
    plain.destroy(error);
  });
  source.pipe(plain);
  try {
    for await (const chunk of plain) {
      if (Buffer.isBuffer(chunk)) yield chunk;
    }
  } catch (error) {
    if (failure !== undefined) throw failure;
    if (error instanceof CofferError) throw error;
    throw damaged(messageOf(error));
  } finally {
    source.destroy();
    plain.destroy();
  }
}
