// sys/rekey, sys/rekey-recovery-key and their twins below sys/rotate: new shares of keys. The elder ones take no token
// at listeners that say so (disable_unauthed_rekey_endpoints = false), because shares of the key are proof enough; the
// others always want one. The work itself: src/server/ceremony.
import { CofferError } from "#common/errors.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Attempt } from "../ceremony/attempt.ts";
import type { Rekey, RekeyOutcome, RekeyStatus } from "../ceremony/rekey.ts";
import type { ShareBackup } from "../ceremony/share-backup.ts";
import type { OpenForm, PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { noContent, type Reply } from "../framework/reply.ts";
import { decodeShare } from "./seal-paths.ts";
import type { SysServices } from "./services.ts";

const initFields = {
  secret_shares: withDefault(field.integer("Shares to split the new key into."), 1),
  secret_threshold: withDefault(field.integer("How many of them are needed."), 1),
  require_verification: withDefault(
    field.flag("The new key takes effect once enough new shares were given back."),
    false,
  ),
  pgp_keys: withDefault(
    field.list("PGP public keys, base64 or armoured, one for each share, which is encrypted to it in hexadecimal."),
    [],
  ),
  backup: withDefault(field.flag("Keep the encrypted shares too, to be fetched until they are deleted."), false),
  stored_shares: field.integer("Kept for old clients."),
} as const;

/** Of every path that takes a share. */
export const shareFields = {
  key: withDefault(field.text("A share, hex or base64."), ""),
  nonce: withDefault(field.text("Nonce of the attempt."), ""),
} as const;

/** One set of paths over one kind of key. */
interface PathSet {
  readonly rekey: Rekey;
  readonly what: string;
  readonly openForm?: OpenForm;
  /** Elder paths answer bare; the others in an envelope, with the same members at the top. */
  readonly answer: (body: JsonObject) => Reply;
}

export function rekeyPaths(services: SysServices) {
  const { barrierRekey, recoveryRekey, emergencyRekey } = services.ceremonies;
  const elder = { openForm: "rekey" as const, answer: (bare: JsonObject): Reply => ({ bare }) };
  const younger = { answer: (data: JsonObject): Reply => ({ data, repeatAtTop: true }) };
  const barrier = { rekey: barrierRekey, what: "the key that opens the store" };
  const recovery = { rekey: recoveryRekey, what: "the recovery key" };
  return [
    ...pathSet("rekey", { ...elder, ...barrier }),
    ...pathSet("rekey-recovery-key", { ...elder, ...recovery }),
    ...pathSet("rotate/root", { ...younger, ...barrier }),
    ...pathSet("rotate/recovery", { ...younger, ...recovery }),
    ...pathSet("seal-emergency", { ...younger, rekey: emergencyRekey, what: "the emergency set" }),
    backupPath("rekey/backup", barrierRekey),
    backupPath("rotate/root/backup", barrierRekey),
    backupPath("rekey/recovery-key-backup", recoveryRekey),
    backupPath("rotate/recovery/backup", recoveryRekey),
    backupPath("seal-emergency/backup", emergencyRekey),
    rotateRootPath(services),
  ];
}

function pathSet(base: string, set: PathSet) {
  return [initPath(base, set), updatePath(base, set), verifyPath(base, set)];
}

function initPath(base: string, { rekey, what, openForm, answer }: PathSet) {
  return definePrivilegedPath(`${base}/init`, {
    summary: `New shares of ${what}: begins, shows and ends an attempt.`,
    access: "sudo",
    ...(openForm && { openForm }),
    fields: initFields,
    operations: {
      read: { summary: "Show it.", handler: async () => answer(shownStatus(await rekey.status())) },
      update: {
        summary: "Begin.",
        handler: async (context, values) => {
          assertEffective(context);
          const split = { shares: values.secret_shares, threshold: values.secret_threshold };
          const options = {
            verify: values.require_verification,
            trusted: context.caller !== undefined,
            pgpKeys: values.pgp_keys,
            backup: values.backup,
          };
          return answer(shownOutcome(await rekey.start(split, options)));
        },
      },
      delete: {
        summary: "End it without a change.",
        handler: async (context) => {
          assertEffective(context);
          await rekey.cancel();
          return noContent;
        },
      },
    },
  });
}

function updatePath(base: string, { rekey, what, openForm, answer }: PathSet) {
  return definePrivilegedPath(`${base}/update`, {
    summary: `New shares of ${what}: takes one of the old ones.`,
    access: "sudo",
    ...(openForm && { openForm }),
    fields: shareFields,
    operations: {
      update: {
        summary: "Give a share.",
        handler: async (context, { key, nonce }) => {
          assertEffective(context);
          using share = shareOf(key);
          return answer(shownOutcome(await rekey.submit(share, nonce)));
        },
      },
    },
  });
}

function verifyPath(base: string, { rekey, what, openForm, answer }: PathSet) {
  return definePrivilegedPath(`${base}/verify`, {
    summary: `New shares of ${what}: takes one of the new ones.`,
    access: "sudo",
    ...(openForm && { openForm }),
    fields: shareFields,
    operations: {
      read: {
        summary: "Show how far it is.",
        handler: async () => {
          const { attempt } = await rekey.status();
          if (!attempt?.pending) throw invalid("no rekey verification in progress");
          return answer(shownVerification(attempt));
        },
      },
      update: {
        summary: "Give a share.",
        handler: async (context, { key, nonce }) => {
          assertEffective(context);
          using share = shareOf(key);
          const { complete, attempt } = await rekey.verify(share, nonce);
          if (complete) return answer({ nonce: attempt.pending?.nonce ?? "", complete });
          return answer(shownVerification(attempt));
        },
      },
      delete: {
        summary: "Forget the new shares given so far.",
        handler: async (context) => {
          assertEffective(context);
          return answer(shownVerification(await rekey.restartVerification()));
        },
      },
    },
  });
}

function backupPath(pattern: string, rekey: Rekey) {
  return definePrivilegedPath(pattern, {
    summary: "The encrypted shares of the last rekey with a backup.",
    access: "sudo",
    operations: {
      read: {
        summary: "Show them, by fingerprint.",
        handler: async ({ transaction }) => {
          const backup = await rekey.readBackup(transaction);
          if (!backup) throw invalid("no backed-up keys found");
          const body = shownBackup(backup);
          return { data: body, repeatAtTop: true };
        },
      },
      delete: {
        summary: "Forget them.",
        handler: ({ transaction }) => {
          rekey.deleteBackup(transaction);
          return noContent;
        },
      },
    },
  });
}

function shownBackup({ nonce, shares }: ShareBackup): JsonObject {
  const byFingerprint = Map.groupBy(shares, ({ fingerprint }) => fingerprint);
  const shown = (encoding: "hex" | "base64") =>
    Object.fromEntries(
      [...byFingerprint].map(([fingerprint, own]) => [
        fingerprint,
        own.map(({ share }) => Buffer.from(share, "base64").toString(encoding)),
      ]),
    );
  return { nonce, keys: shown("hex"), keys_base64: shown("base64") };
}

function rotateRootPath({ ceremonies }: SysServices) {
  return definePrivilegedPath("rotate/root", {
    summary: "A new root key, for servers that unseal by themselves.",
    access: "sudo",
    operations: {
      update: {
        summary: "Make one.",
        handler: async (context) => {
          assertEffective(context);
          const { custody } = ceremonies;
          if (!custody.isAutoSeal)
            throw invalid("the root key of a server that is unsealed by shares needs them: use sys/rotate/root/init");
          using unused = custody.newKey();
          await custody.replaceRootKey(unused, { shares: 1, threshold: 1 });
          return noContent;
        },
      },
    },
  });
}

/**
 * What is done here does not wait for the request's commit. A token with a limit of uses makes that commit one that
 * can fail, the request would run again, and the shares of its first run would be lost.
 */
function assertEffective({ transaction }: PrivilegedContext): void {
  if (transaction.dirty) throw invalid("this needs a token without a limit of uses");
}

export function shareOf(key: string): SecretBytes {
  if (key === "") throw invalid("'key' must be specified in request body as JSON");
  return new SecretBytes(decodeShare(key));
}

function shownStatus({ attempt, required }: RekeyStatus): JsonObject {
  return {
    nonce: attempt?.nonce ?? "",
    started: attempt !== undefined,
    t: attempt?.threshold ?? 0,
    n: attempt?.shares ?? 0,
    progress: attempt?.given.length ?? 0,
    required,
    pgp_fingerprints: shownFingerprints(attempt?.recipients?.map(({ fingerprint }) => fingerprint)),
    backup: attempt?.backup === "yes",
    verification_required: attempt?.verify === "yes",
    ...(attempt?.pending && { verification_nonce: attempt.pending.nonce }),
  };
}

function shownOutcome(outcome: RekeyOutcome): JsonObject {
  if (outcome.kind === "waiting") return shownStatus(outcome.status);
  return {
    nonce: outcome.nonce,
    complete: true,
    keys: outcome.keys.map((key) => key.toString("hex")),
    keys_base64: outcome.keys.map((key) => key.toString("base64")),
    pgp_fingerprints: shownFingerprints(outcome.fingerprints),
    backup: outcome.backup,
    verification_required: outcome.verificationNonce !== undefined,
    ...(outcome.verificationNonce !== undefined && { verification_nonce: outcome.verificationNonce }),
  };
}

/** Clients expect null where nobody was named. */
function shownFingerprints(fingerprints: readonly string[] | undefined): JsonValue {
  return fingerprints === undefined || fingerprints.length === 0 ? null : fingerprints;
}

function shownVerification({ pending, threshold, shares }: Attempt): JsonObject {
  return {
    nonce: pending?.nonce ?? "",
    started: pending !== undefined,
    t: threshold,
    n: shares,
    progress: pending?.given.length ?? 0,
  };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
