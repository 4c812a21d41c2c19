// sys/rekey, sys/rekey-recovery-key and their twins below sys/rotate: new shares of keys. The elder ones take no token
// when the configuration says so (enable_unauthenticated_rekey), because shares of the key are proof enough; the others
// always want one. The work itself: src/server/ceremony.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Attempt } from "../ceremony/attempt.ts";
import type { Rekey, RekeyOutcome, RekeyStatus } from "../ceremony/rekey.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { type Access, definePrivilegedPath } from "../framework/path.ts";
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
  pgp_keys: field.list("Not supported."),
  backup: withDefault(field.flag("Not supported."), false),
  stored_shares: field.integer("Kept for old clients."),
} as const;

const shareFields = {
  key: withDefault(field.text("A share, hex or base64."), ""),
  nonce: withDefault(field.text("Nonce of the attempt."), ""),
} as const;

/** One set of paths over one kind of key. */
interface PathSet {
  readonly rekey: Rekey;
  readonly what: string;
  readonly access: Access;
  /** Elder paths answer bare; the others in an envelope, with the same members at the top. */
  readonly answer: (body: JsonObject) => Reply;
}

export function rekeyPaths(services: SysServices) {
  const { barrierRekey, recoveryRekey } = services.ceremonies;
  const elder = { access: elderAccess(services), answer: (bare: JsonObject): Reply => ({ bare }) };
  const younger = { access: "sudo" as const, answer: (data: JsonObject): Reply => ({ data, repeatAtTop: true }) };
  const barrier = { rekey: barrierRekey, what: "the key that opens the store" };
  const recovery = { rekey: recoveryRekey, what: "the recovery key" };
  return [
    ...pathSet("rekey", { ...elder, ...barrier }),
    ...pathSet("rekey-recovery-key", { ...elder, ...recovery }),
    ...pathSet("rotate/root", { ...younger, ...barrier }),
    ...pathSet("rotate/recovery", { ...younger, ...recovery }),
    ...["rekey/backup", "rekey/recovery-key-backup", "rotate/root/backup", "rotate/recovery/backup"].map(backupPath),
    rotateRootPath(services),
  ];
}

/** Of the paths that clients of old use without a token. */
export function elderAccess({ unauthenticatedRekey }: SysServices): Access {
  return unauthenticatedRekey ? "public" : "sudo";
}

function pathSet(base: string, set: PathSet) {
  return [initPath(base, set), updatePath(base, set), verifyPath(base, set)];
}

function initPath(base: string, { rekey, what, access, answer }: PathSet) {
  return definePrivilegedPath(`${base}/init`, {
    summary: `New shares of ${what}: begins, shows and ends an attempt.`,
    access,
    fields: initFields,
    operations: {
      read: { summary: "Show it.", handler: async () => answer(shownStatus(await rekey.status())) },
      update: {
        summary: "Begin.",
        handler: async (context, values) => {
          assertEffective(context);
          assertNoPgp(values.pgp_keys, values.backup);
          const split = { shares: values.secret_shares, threshold: values.secret_threshold };
          const options = { verify: values.require_verification, trusted: access === "sudo" };
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

function updatePath(base: string, { rekey, what, access, answer }: PathSet) {
  return definePrivilegedPath(`${base}/update`, {
    summary: `New shares of ${what}: takes one of the old ones.`,
    access,
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

function verifyPath(base: string, { rekey, what, access, answer }: PathSet) {
  return definePrivilegedPath(`${base}/verify`, {
    summary: `New shares of ${what}: takes one of the new ones.`,
    access,
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

function backupPath(pattern: string) {
  return definePrivilegedPath(pattern, {
    summary: "Encrypted copies of shares, which this server never keeps.",
    access: "sudo",
    operations: {
      read: {
        summary: "There are none.",
        handler: () => {
          throw invalid("no backed-up keys found");
        },
      },
      delete: { summary: "Does nothing.", handler: () => noContent },
    },
  });
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

export function assertNoPgp(keys: unknown, backup = false): void {
  const sent = Array.isArray(keys) ? keys.length > 0 : keys !== undefined && keys !== "";
  if (sent) throw invalid("encryption with PGP keys is not supported; leave out pgp_keys and pgp_key");
  if (backup) throw invalid("backup is not supported: it needs PGP keys, which this server does not encrypt with");
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
    pgp_fingerprints: null,
    backup: false,
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
    pgp_fingerprints: null,
    backup: false,
    verification_required: outcome.verificationNonce !== undefined,
    ...(outcome.verificationNonce !== undefined && { verification_nonce: outcome.verificationNonce }),
  };
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
