// The seal whose key is in AWS KMS and never leaves it. Wraps by Encrypt, with an encryption context that names cluster
// and purpose, so that a ciphertext opens nowhere else and CloudTrail tells what was opened. The stored ciphertext is the
// blob of KMS in base64; the key id is the ARN that KMS answered with, so that an alias moved to another key is noticed,
// and unwrapping names that ARN, so that KMS opens with no other key (key-arn.ts). Rotating a key's material in KMS changes
// neither: KMS finds the right material by itself.
import type { Clock } from "#common/clock.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { probeByNonce } from "../probe-by-nonce.ts";
import type { AutoSeal, SealError, WrappedKey } from "../seal.ts";
import type { SealType } from "../seal-types.ts";
import { type Connection, connect } from "./client.ts";
import { type AwsKmsConfig, CONTEXT_PURPOSE, parseAwsKmsConfig } from "./config.ts";
import { diagnose, fault, PENDING_DELETION, timedOut, WRONG_STATE } from "./faults.ts";
import { keyInRegion } from "./key-arn.ts";

export const awsKmsSealType: SealType = {
  type: "awskms",
  parse: async (config, dependencies) => createAwsKmsSeal(parseAwsKmsConfig(config, dependencies), dependencies),
};

/** A seal over AWS KMS. Nothing is loaded or contacted before the first call. */
export function createAwsKmsSeal(config: AwsKmsConfig, { clock }: { clock: Clock }): AutoSeal {
  const kms = createKms(config, clock);
  const wrap = async (key: SecretBytes, purpose: string, signal?: AbortSignal): Promise<WrappedKey> => {
    const { keyId, blob } = await kms.encrypt(key.expose(), purpose, signal);
    return { seal: config.name, keyId, ciphertext: Buffer.from(blob).toString("base64") };
  };
  const unwrap = async (wrapped: WrappedKey, purpose: string, signal?: AbortSignal): Promise<SecretBytes> =>
    new SecretBytes(await kms.decrypt(Buffer.from(wrapped.ciphertext, "base64"), wrapped.keyId, purpose, signal));
  return {
    kind: "auto",
    type: "awskms",
    name: config.name,
    wrap,
    unwrap,
    probe: (signal) => probeByNonce({ name: config.name, wrap, unwrap }, { clock, keeper: "KMS", signal }),
    close: () => kms.close(),
  };
}

/** KMS as the seal needs it: two operations, each with a deadline and SealErrors. */
function createKms(config: AwsKmsConfig, clock: Clock) {
  let connection: Promise<Connection> | undefined;
  const call = async <T>(key: string, run: Run<T>, signal: AbortSignal | undefined): Promise<T> => {
    connection ??= connect(config).catch((error: unknown) => {
      connection = undefined;
      throw diagnose(error, config);
    });
    const opened = await connection;
    return withDeadline(config, clock, signal, async (abortSignal) => {
      try {
        return await run(opened, abortSignal);
      } catch (error) {
        throw await sealErrorOf(error, { config, key, connection: opened, abortSignal });
      }
    });
  };
  const context = (purpose: string) => ({ ...config.encryptionContext, [CONTEXT_PURPOSE]: purpose });
  return {
    encrypt: (plaintext: Uint8Array, purpose: string, signal?: AbortSignal) =>
      call(
        config.keyId,
        (opened, abortSignal) => encrypt(opened, config, plaintext, context(purpose), abortSignal),
        signal,
      ),
    decrypt: (blob: Uint8Array, storedKeyId: string, purpose: string, signal?: AbortSignal) => {
      const keyId = keyInRegion(storedKeyId, config.region);
      const request = { keyId, blob, context: context(purpose), grantTokens: config.grantTokens };
      return call(keyId, (opened, abortSignal) => decrypt(opened, request, abortSignal), signal);
    },
    close: async () => {
      const opened = await connection?.catch(() => undefined);
      opened?.client.destroy();
    },
  };
}

type Run<T> = (connection: Connection, abortSignal: AbortSignal) => Promise<T>;
type Context = Record<string, string>;
interface DecryptRequest {
  readonly keyId: string;
  readonly blob: Uint8Array;
  readonly context: Context;
  readonly grantTokens: readonly string[];
}

async function encrypt(
  { sdk, client }: Connection,
  config: AwsKmsConfig,
  plaintext: Uint8Array,
  context: Context,
  abortSignal: AbortSignal,
): Promise<{ keyId: string; blob: Uint8Array }> {
  const command = new sdk.EncryptCommand({
    KeyId: config.keyId,
    Plaintext: plaintext,
    EncryptionContext: context,
    GrantTokens: [...config.grantTokens],
  });
  const { CiphertextBlob, KeyId } = await client.send(command, { abortSignal });
  if (CiphertextBlob === undefined || KeyId === undefined) throw new Error("KMS answered Encrypt without a ciphertext");
  return { keyId: KeyId, blob: CiphertextBlob };
}

async function decrypt(
  { sdk, client }: Connection,
  { keyId, blob, context, grantTokens }: DecryptRequest,
  abortSignal: AbortSignal,
): Promise<Uint8Array> {
  const command = new sdk.DecryptCommand({
    KeyId: keyId,
    CiphertextBlob: blob,
    EncryptionContext: context,
    GrantTokens: [...grantTokens],
  });
  const { Plaintext } = await client.send(command, { abortSignal });
  if (Plaintext === undefined) throw new Error("KMS answered Decrypt without a plaintext");
  return Plaintext;
}

/**
 * Ends an operation when its time is up or the caller gives up, whatever the SDK does: its requestTimeout only warns, and
 * fetching credentials heeds no signal at all.
 */
async function withDeadline<T>(
  config: AwsKmsConfig,
  clock: Clock,
  signal: AbortSignal | undefined,
  run: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const done = new AbortController();
  const ended = new AbortController();
  const giveUp = () => ended.abort(signal?.reason);
  signal?.addEventListener("abort", giveUp, { once: true });
  const cut = new Promise<never>((_, reject) => {
    ended.signal.addEventListener("abort", () => reject(ended.signal.reason), { once: true });
  });
  void clock.sleep(config.timeoutMillis, done.signal).then(() => {
    if (!done.signal.aborted) ended.abort(timedOut(config));
  });
  const running = run(ended.signal);
  // When the deadline wins, the operation's own end is of no interest any more.
  running.catch(() => undefined);
  try {
    return await Promise.race([running, cut]);
  } finally {
    done.abort();
    signal?.removeEventListener("abort", giveUp);
  }
}

async function sealErrorOf(
  error: unknown,
  at: { config: AwsKmsConfig; key: string; connection: Connection; abortSignal: AbortSignal },
): Promise<SealError> {
  if (!(error instanceof at.connection.sdk.KMSInvalidStateException)) return diagnose(error, at.config, at.key);
  const diagnosis = (await isPendingDeletion(error, at)) ? PENDING_DELETION : WRONG_STATE;
  return fault(diagnosis, at.config, { key: at.key, code: error.name, cause: error });
}

/**
 * KMSInvalidStateException stands for several states. DescribeKey tells which; where that is not allowed, only the
 * message is left ("<arn> is pending deletion."), the single place that looks at one.
 */
async function isPendingDeletion(
  error: Error,
  { key, connection: { sdk, client }, abortSignal }: { key: string; connection: Connection; abortSignal: AbortSignal },
): Promise<boolean> {
  const described = await client
    .send(new sdk.DescribeKeyCommand({ KeyId: key }), { abortSignal })
    .catch(() => undefined);
  const state = described?.KeyMetadata?.KeyState;
  return state === undefined ? /pending.?deletion/i.test(error.message) : state === "PendingDeletion";
}
