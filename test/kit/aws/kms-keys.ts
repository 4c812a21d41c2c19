// The responder's keys: symmetric KMS keys with their state, aliases and the versions of their material. Format of the
// ciphertexts, which nobody but this file reads:
//   offset  size  meaning
//   0       1     version, 1
//   1       16    the key's UUID, or what stands behind "mrk-" in the id of a multi-region key
//   17      4     number of the material, big endian
//   21      12    nonce
//   33      n     ciphertext
//   33+n    16    tag
// Additional data: the head up to the nonce, then the encryption context as JSON with sorted members.
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from "node:crypto";
import { encodeSorted } from "#common/json.ts";
import { AwsError } from "./aws-error.ts";

const VERSION = 1;
const NONCE_AT = 21;
const HEAD_BYTES = 33;
const TAG_BYTES = 16;
const DAY_MILLIS = 24 * 60 * 60 * 1000;

export type EncryptionContext = Readonly<Record<string, string>>;
export type KeyState = "Enabled" | "Disabled" | "PendingDeletion";

/** As it is kept, and as it is written to the state file. */
export interface Key {
  readonly id: string;
  readonly arn: string;
  readonly description: string;
  /** Milliseconds since the epoch, as all times here. */
  readonly created: number;
  state: KeyState;
  deletion?: number | undefined;
  rotationEnabled: boolean;
  /** Base64, the newest last; every one goes on decrypting. */
  readonly materials: string[];
  readonly rotations: { at: number; type: "ON_DEMAND" | "AUTOMATIC" }[];
  /** Of a multi-region key: the ARN of the primary, which may be this one. */
  readonly primary?: string | undefined;
}

const MULTI_REGION_PREFIX = "mrk-";

export class KeyStore {
  readonly keys = new Map<string, Key>();
  /** "alias/name" to key id. */
  readonly aliases = new Map<string, string>();
  readonly #scope: string;
  readonly #region: string;
  readonly #now: () => number;
  readonly #onChange: () => void;

  constructor(options: { region: string; account: string; now: () => number; onChange: () => void }) {
    this.#scope = `arn:aws:kms:${options.region}:${options.account}:`;
    this.#region = options.region;
    this.#now = options.now;
    this.#onChange = options.onChange;
  }

  create(description = "", multiRegion = false): Key {
    const id = multiRegion ? MULTI_REGION_PREFIX + randomUUID().replaceAll("-", "") : randomUUID();
    const arn = `${this.#scope}key/${id}`;
    const key: Key = {
      id,
      arn,
      description,
      ...(multiRegion && { primary: arn }),
      created: this.#now(),
      state: "Enabled",
      rotationEnabled: false,
      materials: [randomBytes(32).toString("base64")],
      rotations: [],
    };
    this.keys.set(id, key);
    this.#onChange();
    return key;
  }

  /**
   * A replica of another region's multi-region key: the same id and the same material, also what rotations add later,
   * and a state of its own (KMS Developer Guide, "Multi-Region keys").
   */
  replicate(primary: Key): Key {
    if (primary.primary === undefined)
      throw new AwsError("UnsupportedOperationException", `${primary.arn} is not a multi-Region primary key.`);
    const key: Key = { ...primary, arn: `${this.#scope}key/${primary.id}`, state: "Enabled", deletion: undefined };
    this.keys.set(key.id, key);
    this.#onChange();
    return key;
  }

  setAlias(alias: string, key: Key): void {
    this.aliases.set(alias, key.id);
    this.#onChange();
  }

  removeAlias(alias: string): void {
    this.aliases.delete(alias);
    this.#onChange();
  }

  aliasArn(alias: string): string {
    return `${this.#scope}${alias}`;
  }

  /** By id, key ARN, alias or alias ARN of this account and region. Throws NotFoundException. */
  resolve(given: string): Key {
    const local = given.startsWith(this.#scope) ? given.slice(this.#scope.length) : given;
    const id = local.startsWith("alias/") ? this.aliases.get(local) : local.replace(/^key\//, "");
    const key = id === undefined ? undefined : this.keys.get(id);
    if (key !== undefined && !this.#isGone(key)) return key;
    if (local.startsWith("alias/"))
      throw new AwsError("NotFoundException", `Alias ${this.#scope}${local} is not found.`);
    const region = /^arn:aws:kms:([a-z0-9-]+):/.exec(given)?.[1];
    // KMS knows nothing of other regions' ARNs, not even of its own key's replicas.
    if (region !== undefined && region !== this.#region)
      throw new AwsError("NotFoundException", `Invalid arn ${region}`);
    const looksRight = /^arn:aws:kms:|^mrk-|^[0-9a-f]{8}-[0-9a-f]{4}-/.test(given);
    const named = given.startsWith("arn:") ? given : `${this.#scope}key/${given}`;
    throw new AwsError("NotFoundException", looksRight ? `Key '${named}' does not exist` : `Invalid keyId '${given}'`);
  }

  /** A scheduled deletion that has come due: the key is no more. */
  #isGone(key: Key): boolean {
    return key.deletion !== undefined && key.deletion <= this.#now();
  }

  setState(key: Key, state: "Enabled" | "Disabled"): void {
    key.state = state;
    key.deletion = undefined;
    this.#onChange();
  }

  /** Days as AWS bounds them: 7..30. */
  scheduleDeletion(key: Key, days: number): number {
    key.state = "PendingDeletion";
    key.deletion = this.#now() + days * DAY_MILLIS;
    this.#onChange();
    return key.deletion;
  }

  /** New material for encryption; the old goes on decrypting. */
  rotate(key: Key): void {
    key.materials.push(randomBytes(32).toString("base64"));
    key.rotations.push({ at: this.#now(), type: "ON_DEMAND" });
    this.#onChange();
  }

  enableRotation(key: Key, enabled: boolean): void {
    key.rotationEnabled = enabled;
    this.#onChange();
  }

  encrypt(key: Key, plaintext: Uint8Array, context: EncryptionContext): Buffer {
    const number = key.materials.length - 1;
    const head = Buffer.alloc(HEAD_BYTES);
    head[0] = VERSION;
    Buffer.from(key.id.replace(MULTI_REGION_PREFIX, "").replaceAll("-", ""), "hex").copy(head, 1);
    head.writeUInt32BE(number, 17);
    randomBytes(HEAD_BYTES - NONCE_AT).copy(head, NONCE_AT);
    const cipher = createCipheriv("aes-256-gcm", materialOf(key, number), head.subarray(NONCE_AT));
    cipher.setAAD(additionalData(head, context));
    return Buffer.concat([head, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  /** The key that a ciphertext names. Throws InvalidCiphertextException for what is none of this store's. */
  keyOf(blob: Buffer): Key {
    const hex = blob.subarray(1, 17).toString("hex");
    const id = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
    const key = this.keys.get(id) ?? this.keys.get(MULTI_REGION_PREFIX + hex);
    if (blob.length <= HEAD_BYTES + TAG_BYTES || blob[0] !== VERSION || key === undefined || this.#isGone(key))
      throw invalidCiphertext();
    return key;
  }

  /** Throws InvalidCiphertextException for damage and for another encryption context. */
  decrypt(key: Key, blob: Buffer, context: EncryptionContext): Buffer {
    const number = blob.readUInt32BE(17);
    if (number >= key.materials.length) throw invalidCiphertext();
    const nonce = blob.subarray(NONCE_AT, HEAD_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", materialOf(key, number), nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(additionalData(blob, context));
    decipher.setAuthTag(blob.subarray(blob.length - TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(blob.subarray(HEAD_BYTES, blob.length - TAG_BYTES)), decipher.final()]);
    } catch {
      throw invalidCiphertext();
    }
  }
}

function materialOf(key: Key, number: number): Buffer {
  return Buffer.from(key.materials[number] ?? "", "base64");
}

function additionalData(head: Buffer, context: EncryptionContext): Buffer {
  return Buffer.concat([head.subarray(0, NONCE_AT), Buffer.from(encodeSorted(context), "utf8")]);
}

/** AWS gives no message with this one. */
function invalidCiphertext(): AwsError {
  return new AwsError("InvalidCiphertextException", "");
}
