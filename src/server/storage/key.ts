// What a storage key is and how keys are ordered: by their UTF-8 bytes, in every backend. JavaScript compares strings
// by UTF-16 units, which differs for characters beyond U+FFFF, so nothing that orders keys may use `<` on them.
// Also the arithmetic of one-level listing that all backends share.
import { CofferError } from "#common/errors.ts";
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from "./storage.ts";

/** A UTF-16 unit is at most this many bytes in UTF-8, so short keys need no counting. */
const UTF8_BYTES_PER_UNIT_MAX = 3;

/** Throws `invalid_request` for a key that no backend can hold, `too_large` for one beyond KEY_BYTES_MAX. */
export function assertKey(key: string): void {
  if (key.length === 0) throw new CofferError("invalid_request", "a storage key must not be empty");
  assertKeyText(key);
}

/** Like assertKey for the ends of ranges and prefixes, which may be empty. */
export function assertKeyText(key: string): void {
  if (!key.isWellFormed()) throw new CofferError("invalid_request", "a storage key must be well-formed Unicode");
  if (key.length * UTF8_BYTES_PER_UNIT_MAX <= KEY_BYTES_MAX) return;
  if (Buffer.byteLength(key) > KEY_BYTES_MAX)
    throw new CofferError("too_large", `the path is longer than ${KEY_BYTES_MAX} bytes; use a shorter one`);
}

/** Throws `too_large` for a value beyond VALUE_BYTES_MAX. */
export function assertValue(key: string, value: Uint8Array): void {
  if (value.length > VALUE_BYTES_MAX)
    throw new CofferError("too_large", `the value at path ${key} is larger than ${VALUE_BYTES_MAX} bytes`);
}

/** Checks all keys and values of writes before anything is written. */
export function assertWrites(writes: ReadonlyMap<string, Uint8Array | null>): void {
  for (const [key, value] of writes) {
    assertKey(key);
    if (value !== null) assertValue(key, value);
  }
}

/** Compares by UTF-8 bytes: negative, zero or positive. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for characters beyond U+FFFF, so they come after U+E000..U+FFFF. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Throws `invalid_request` unless the prefix is "" or ends in "/". */
export function assertPrefix(prefix: string): void {
  assertKeyText(prefix);
  if (prefix !== "" && !prefix.endsWith("/"))
    throw new CofferError("invalid_request", "a prefix to list must be empty or end in /");
}

/** The first key past everything below a folder: "0" is the character after "/". */
export function pastFolder(folder: string): string {
  return `${folder.slice(0, -1)}0`;
}

/** Where a listing resumes. With `inclusive` false a key equal to `from` itself is not part of it. */
export function listStart(prefix: string, after: string | undefined): { from: string; inclusive: boolean } {
  if (after === undefined || after === "") return { from: prefix, inclusive: false };
  const slash = after.indexOf("/");
  if (slash < 0) return { from: prefix + after, inclusive: false };
  return { from: pastFolder(prefix + after.slice(0, slash + 1)), inclusive: true };
}

/** The name one level below the prefix under which a key is listed; folders end in "/". */
export function nameBelow(prefix: string, key: string): string {
  const slash = key.indexOf("/", prefix.length);
  return slash < 0 ? key.slice(prefix.length) : key.slice(prefix.length, slash + 1);
}

/**
 * One level below a prefix, by skip scan. `seek` gives the first key at or (if not inclusive) after `from`, or
 * undefined at the end of the store.
 */
export function skipScan(
  prefix: string,
  page: { after?: string; limit: number },
  seek: (from: string, inclusive: boolean) => string | undefined,
): string[] {
  const names: string[] = [];
  let { from, inclusive } = listStart(prefix, page.after);
  while (names.length < page.limit) {
    const key = seek(from, inclusive);
    if (key === undefined || !key.startsWith(prefix)) break;
    const name = nameBelow(prefix, key);
    names.push(name);
    inclusive = name.endsWith("/");
    from = inclusive ? pastFolder(prefix + name) : key;
  }
  return names;
}
