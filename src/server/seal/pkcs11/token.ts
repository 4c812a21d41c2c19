// A token of a PKCS #11 library with a user logged in: finds keys and lends sessions. Runs in the process of its own
// that hsm-process.ts starts, because calls block and a vendor's library may crash.
import { randomBytes } from "node:crypto";
import type { Handle, Mechanism, PKCS11, Template } from "pkcs11js";
import { messageOf } from "#common/errors.ts";
import type { TokenStatus } from "../key-machine.ts";
import { SealError } from "../seal.ts";
import { returnValueOf } from "./faults.ts";
import type { TokenSettings } from "./hsm-messages.ts";
import { CKM, chooseScheme, type SchemeName } from "./schemes.ts";

/** PKCS #11 2.40, pkcs11t.h. */
const CKU_USER = 1;
const CKO_SECRET_KEY = 4;
const CKK_GENERIC_SECRET = 0x10;
const CKK_AES = 0x1f;
const CKF_SESSIONS = 0x2 | 0x4; // CKF_RW_SESSION | CKF_SERIAL_SESSION; CloudHSM refuses read-only ones
/** Several threads call the library: those of the asynchronous calls. */
const CKF_OS_LOCKING_OK = 2;
const CKF_TOKEN_INITIALIZED = 0x400;
const CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191;
const CKR_USER_ALREADY_LOGGED_IN = 0x100;
const CKA = {
  ...{ CLASS: 0x0, TOKEN: 0x1, PRIVATE: 0x2, LABEL: 0x3, KEY_TYPE: 0x100, ID: 0x102, SENSITIVE: 0x103 },
  ...{ ENCRYPT: 0x104, DECRYPT: 0x105, WRAP: 0x106, UNWRAP: 0x107, SIGN: 0x108, VERIFY: 0x10a },
  ...{ VALUE: 0x11, VALUE_LEN: 0x161, EXTRACTABLE: 0x162 },
} as const;

const sessionKeyTemplate: Template = [
  { type: CKA.CLASS, value: CKO_SECRET_KEY },
  { type: CKA.KEY_TYPE, value: CKK_GENERIC_SECRET },
  { type: CKA.TOKEN, value: false },
  { type: CKA.SENSITIVE, value: false },
  { type: CKA.EXTRACTABLE, value: true },
];

const KEY_BYTES = 32;
const KEY_ID_BYTES = 8;
/** Operations at once; libuv's pool runs as many, and CloudHSM reaches its rate with few. */
const SESSIONS = 4;
/** More keys of one label than anybody means to have. */
const FOUND_MAX = 10;

/** A key in the token and the name that tells it from others for ever: "label#id". */
export interface TokenKey {
  readonly handle: Handle;
  readonly keyId: string;
}

export class Token {
  readonly #module: PKCS11;
  readonly #settings: TokenSettings;
  readonly #slot: Handle;
  /** For looking up keys, which would end what another session's operation has begun. */
  readonly #search: Handle;
  readonly #known = new Map<string, TokenKey>();
  readonly #idle: Handle[];
  readonly #waiting: ((session: Handle) => void)[] = [];
  readonly scheme: SchemeName;

  private constructor(pkcs11: PKCS11, settings: TokenSettings, slot: Handle, sessions: readonly Handle[]) {
    const [search, ...others] = sessions;
    if (search === undefined) throw new Error("a token has at least one session");
    this.#module = pkcs11;
    this.#settings = settings;
    this.#slot = slot;
    this.#search = search;
    this.#idle = others;
    this.scheme = chooseScheme(pkcs11.C_GetMechanismList(slot), settings.scheme);
  }

  get pkcs11(): PKCS11 {
    return this.#module;
  }

  /** Loads the library, finds the token and logs in. Throws SealError or what the library threw. */
  static async open(settings: TokenSettings): Promise<Token> {
    const pkcs11 = loadLibrary(await newBinding(), settings.library);
    const slot = findSlot(pkcs11, settings);
    const first = pkcs11.C_OpenSession(slot, CKF_SESSIONS);
    ignoring(CKR_USER_ALREADY_LOGGED_IN, () => pkcs11.C_Login(first, CKU_USER, settings.pin));
    const others = Array.from({ length: SESSIONS }, () => pkcs11.C_OpenSession(slot, CKF_SESSIONS));
    return new Token(pkcs11, settings, slot, [first, ...others]);
  }

  /** Ends all sessions and the library, as far as it still answers. */
  close(): void {
    for (const end of [
      () => this.#module.C_CloseAllSessions(this.#slot),
      () => this.#module.C_Finalize(),
      () => this.#module.close(),
    ]) {
      try {
        end();
      } catch {
        // A library whose HSM is gone cannot end well, and is left for a new one.
      }
    }
  }

  /** Runs work with a session that nobody else uses meanwhile. */
  async withSession<T>(work: (session: Handle) => Promise<T>): Promise<T> {
    const session =
      this.#idle.pop() ?? (await new Promise<Handle>((resolve) => void this.#waiting.push((lent) => resolve(lent))));
    try {
      return await work(session);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(session);
      else this.#idle.push(session);
    }
  }

  /** The key to wrap with; makes it if there is none and that is allowed. Throws SealError "KeyNotFound". */
  wrappingKey(): TokenKey {
    const { keyLabel, keyId, generateKey } = this.#settings;
    const found = this.#find(CKK_AES, keyLabel, keyId);
    if (found) return found;
    if (generateKey && keyId === undefined) return this.#generate(CKM.AES_KEY_GEN, CKK_AES, keyLabel);
    const which = keyId === undefined ? `with the label ${keyLabel}` : `with the label ${keyLabel} and the id ${keyId}`;
    throw new SealError(
      "KeyNotFound",
      `the token has no AES key ${which}; set generate_key = true, or make one with the HSM's tools`,
      { transient: false },
    );
  }

  /** The token and its keys, for people. */
  describe(): Omit<TokenStatus, "library"> {
    const { keyLabel, keyId, hmacKeyLabel } = this.#settings;
    const { label, serialNumber } = this.#module.C_GetTokenInfo(this.#slot);
    const found = this.#find(CKK_AES, keyLabel, keyId);
    const hasHmac = () => this.#find(CKK_GENERIC_SECRET, hmacKeyLabel, undefined) !== undefined;
    return {
      ...{ token: label.trimEnd(), serial: serialNumber.trimEnd(), slot: slotNumber(this.#slot), scheme: this.scheme },
      ...{ keyLabel, keyId: found?.keyId.slice(found.keyId.lastIndexOf("#") + 1) },
      hmacKey: this.scheme === "aes-cbc-hmac" ? { label: hmacKeyLabel, isThere: hasHmac() } : undefined,
    };
  }

  /** Makes the key, and the second one where the scheme needs it. Throws SealError when there is one already. */
  createKeys(): void {
    const { keyLabel, keyId, hmacKeyLabel } = this.#settings;
    if (keyId !== undefined) {
      const message = "key_id is set, and a new key gets an id of its own: take key_id out of the stanza first";
      throw new SealError("Misconfigured", message, { transient: false });
    }
    const found = this.#find(CKK_AES, keyLabel, undefined);
    if (found !== undefined) {
      const message = `the token already has the key ${found.keyId}; nothing was made. For a new key set another key_label`;
      throw new SealError("Misconfigured", message, { transient: false });
    }
    this.#generate(CKM.AES_KEY_GEN, CKK_AES, keyLabel);
    if (this.scheme === "aes-cbc-hmac" && this.#find(CKK_GENERIC_SECRET, hmacKeyLabel, undefined) === undefined)
      this.#generate(CKM.GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, hmacKeyLabel);
  }

  /** The key that wrapped something. Throws SealError "KeyNotFound". */
  keyNamed(name: string): TokenKey {
    const known = this.#known.get(name);
    if (known) return known;
    const at = name.lastIndexOf("#");
    const found = at < 0 ? undefined : this.#find(CKK_AES, name.slice(0, at), name.slice(at + 1));
    if (found) {
      this.#known.set(name, found);
      return found;
    }
    throw new SealError(
      "KeyNotFound",
      `the token no longer has the key ${name}, which wrapped this; restore the HSM from a backup that holds it`,
      { transient: false },
    );
  }

  /** The HMAC key of the scheme aes-cbc-hmac; made with the first wrapping where keys may be made. */
  hmacKey(): TokenKey {
    const { hmacKeyLabel, generateKey } = this.#settings;
    const found = this.#find(CKK_GENERIC_SECRET, hmacKeyLabel, undefined);
    if (found) return found;
    if (generateKey) return this.#generate(CKM.GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, hmacKeyLabel);
    throw new SealError("KeyNotFound", `the token has no HMAC key with the label ${hmacKeyLabel}`, {
      transient: false,
    });
  }

  /** A key object of a session, made of bytes; for key wrap, which takes keys alone. */
  createSessionKey(session: Handle, value: Buffer): Handle {
    return this.#module.C_CreateObject(session, [...sessionKeyTemplate, { type: CKA.VALUE, value }]);
  }

  /** What key unwrap gives, as bytes; the object in the token is gone afterwards. */
  async unwrapToBytes(session: Handle, mechanism: Mechanism, key: Handle, wrapped: Buffer): Promise<Buffer> {
    const object = await this.#module.C_UnwrapKeyAsync(session, mechanism, key, wrapped, sessionKeyTemplate);
    try {
      const [value] = this.#module.C_GetAttributeValue(session, object, [{ type: CKA.VALUE }]);
      if (Buffer.isBuffer(value?.value)) return value.value;
      throw new Error("the token gave no bytes of an unwrapped key");
    } finally {
      this.#module.C_DestroyObject(session, object);
    }
  }

  #find(type: number, label: string, id: string | undefined): TokenKey | undefined {
    const session = this.#search;
    this.#module.C_FindObjectsInit(session, [
      { type: CKA.CLASS, value: CKO_SECRET_KEY },
      { type: CKA.KEY_TYPE, value: type },
      { type: CKA.TOKEN, value: true },
      { type: CKA.LABEL, value: label },
      ...(id ? [{ type: CKA.ID, value: Buffer.from(id, "hex") }] : []),
    ]);
    const handles = this.#module.C_FindObjects(session, FOUND_MAX);
    this.#module.C_FindObjectsFinal(session);
    const [handle] = handles;
    if (handle === undefined) return undefined;
    if (handles.length === 1) return { handle, keyId: `${label}#${this.#idOf(handle)}` };
    const ids = handles.map((found) => this.#idOf(found)).join(", ");
    throw new SealError(
      "Misconfigured",
      `the token has ${handles.length} keys with the label ${label} (ids ${ids}): set key_id to one of them`,
      { transient: false },
    );
  }

  #idOf(handle: Handle): string {
    const [id] = this.#module.C_GetAttributeValue(this.#search, handle, [{ type: CKA.ID }]);
    return Buffer.isBuffer(id?.value) ? id.value.toString("hex") : "";
  }

  /** A key that never leaves the token. */
  #generate(mechanism: number, type: number, label: string): TokenKey {
    const id = randomBytes(KEY_ID_BYTES);
    const isAes = type === CKK_AES;
    const may: Template = isAes
      ? [CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP].map((right) => ({ type: right, value: true }))
      : [CKA.SIGN, CKA.VERIFY].map((right) => ({ type: right, value: true }));
    const handle = this.#module.C_GenerateKey(this.#search, { mechanism }, [
      { type: CKA.CLASS, value: CKO_SECRET_KEY },
      { type: CKA.KEY_TYPE, value: type },
      { type: CKA.VALUE_LEN, value: KEY_BYTES },
      { type: CKA.TOKEN, value: true },
      { type: CKA.PRIVATE, value: true },
      { type: CKA.SENSITIVE, value: true },
      { type: CKA.EXTRACTABLE, value: false },
      { type: CKA.LABEL, value: label },
      { type: CKA.ID, value: id },
      ...may,
    ]);
    return { handle, keyId: `${label}#${id.toString("hex")}` };
  }
}

function loadLibrary(pkcs11: PKCS11, library: string): PKCS11 {
  try {
    pkcs11.load(library);
  } catch (error) {
    throw new SealError(
      "Misconfigured",
      `the library ${library} cannot be loaded: ${messageOf(error)}; install the HSM's client, or set lib to its path`,
      { transient: false, cause: error },
    );
  }
  ignoring(CKR_CRYPTOKI_ALREADY_INITIALIZED, () => pkcs11.C_Initialize({ flags: CKF_OS_LOCKING_OK }));
  return pkcs11;
}

/** An optional package with native code: absent where it could not be compiled. */
async function newBinding(): Promise<PKCS11> {
  try {
    const { PKCS11: Binding } = await import("pkcs11js");
    return new Binding();
  } catch (cause) {
    throw new SealError(
      "Misconfigured",
      "this installation has no PKCS #11 support: the optional package pkcs11js was not compiled; see docs/guides/hsm.md",
      { transient: false, cause },
    );
  }
}

function findSlot(pkcs11: PKCS11, { token }: TokenSettings): Handle {
  const all = pkcs11.C_GetSlotList(true).map((handle) => {
    const { label, flags } = pkcs11.C_GetTokenInfo(handle);
    return { handle, label: label.trimEnd(), number: slotNumber(handle), flags };
  });
  // SoftHSM always shows one more, for the next token.
  const slots = all.filter(({ flags }) => (flags & CKF_TOKEN_INITIALIZED) !== 0);
  const isWanted = (slot: (typeof slots)[number]) =>
    (token.slot === undefined || slot.number === token.slot) &&
    (token.label === undefined || slot.label === token.label);
  const wanted = slots.filter(isWanted);
  const [only] = wanted;
  if (only !== undefined && wanted.length === 1) return only.handle;
  const known = slots.map(({ number, label }) => `${number} "${label}"`).join(", ") || "none";
  const problem =
    wanted.length > 1
      ? "several tokens fit: set slot or token_label"
      : "there is no token that fits slot and token_label";
  throw new SealError("Misconfigured", `${problem}; the slots with a token are: ${known}`, { transient: false });
}

/** pkcs11js gives handles as the bytes of a CK_ULONG, which is 8 bytes long here and little-endian. */
function slotNumber(handle: Handle): number {
  return Number(handle.readBigUInt64LE());
}

function ignoring(returnValue: number, call: () => void): void {
  try {
    call();
  } catch (error) {
    if (returnValueOf(error) !== returnValue) throw error;
  }
}
