// `operator rekey|generate-root|rotate|key-status`: the keys of a server, replaced by those who hold shares of them.
import type { ApiClient } from "#client/api-client.ts";
import type { Envelope } from "#client/envelope.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject } from "#common/json.ts";
import type { CliIo } from "../cli-io.ts";
import { defineCommand } from "../command.ts";
import type { FlagValues } from "../flags.ts";
import { readValue } from "../key-values.ts";
import type { Printer } from "../output.ts";
import { readPgpKeys } from "../pgp-keys.ts";
import { cell, type Row, table } from "../table.ts";

/** Vault's own defaults. */
const SHARES_DEFAULT = 5;
const THRESHOLD_DEFAULT = 3;

/** Whose shares are made anew, and where the server does it. */
interface RekeyTarget {
  readonly path: string;
  readonly backup: string;
  readonly noun: string;
}

const TARGETS: ReadonlyMap<string, RekeyTarget> = new Map([
  ["barrier", { path: "sys/rekey", backup: "sys/rekey/backup", noun: "Key" }],
  ["recovery", { path: "sys/rekey-recovery-key", backup: "sys/rekey/recovery-key-backup", noun: "Recovery Key" }],
]);

const REKEY_FLAGS = {
  init: { kind: "switch", help: "Begin." },
  "key-shares": { kind: "number", help: "With -init: shares to make (5)." },
  "key-threshold": { kind: "number", help: "With -init: shares that are needed (3)." },
  verify: {
    kind: "switch",
    help: "With -init: the new key waits until enough new shares were given back; else give one.",
  },
  "pgp-keys": {
    kind: "text",
    help: "With -init: files of PGP public keys, comma-separated, one for each new share, which is encrypted to it.",
  },
  backup: { kind: "switch", help: "With -init and -pgp-keys: keep the encrypted shares on the server too." },
  "backup-retrieve": { kind: "switch", help: "Show the kept shares." },
  "backup-delete": { kind: "switch", help: "Delete the kept shares." },
  cancel: { kind: "switch", help: "End the attempt; with -verify forget the new shares given so far." },
  status: { kind: "switch", help: "Show how far it is." },
  nonce: { kind: "text", help: "Nonce of the attempt; the server is asked for it by default." },
} as const;

export const rekey = defineCommand({
  name: "operator rekey",
  summary: "Makes new shares of the unseal key, or of the recovery key; takes one share at a time.",
  usage: "[key]",
  examples: [
    "operator rekey -init -key-shares=5 -key-threshold=3",
    "operator rekey",
    "operator rekey -target=recovery -init -verify",
    "operator rekey -verify",
  ],
  flags: {
    ...REKEY_FLAGS,
    target: { kind: "text", help: "barrier or recovery (barrier)." },
  },
  args: [0, 1],
  async run({ client, flags, args, io, print }) {
    const target = TARGETS.get(flags.target ?? "barrier");
    if (!target) throw new CofferError("invalid_request", "-target must be barrier or recovery");
    return runRekey(target, { client, flags, args, io, print });
  },
});

export const sealEmergency = defineCommand({
  name: "operator seal emergency",
  summary:
    "Makes shares that open the store when no seal does; where there are recovery keys, their holders agree first.",
  usage: "[key]",
  examples: [
    "operator seal emergency -init -key-shares=5 -key-threshold=3 -pgp-keys=a.asc,b.asc,c.asc,d.asc,e.asc -verify",
    "operator seal emergency",
    "operator seal emergency -verify",
  ],
  flags: REKEY_FLAGS,
  args: [0, 1],
  run: (context) => runRekey(EMERGENCY, context),
});

const EMERGENCY: RekeyTarget = {
  path: "sys/seal-emergency",
  backup: "sys/seal-emergency/backup",
  noun: "Emergency Key",
};

interface RekeyRun {
  readonly client: ApiClient;
  readonly flags: FlagValues<typeof REKEY_FLAGS>;
  readonly args: readonly string[];
  readonly io: CliIo;
  readonly print: Printer;
}

async function runRekey(target: RekeyTarget, { client, flags, args, io, print }: RekeyRun): Promise<number> {
  const show = (answer: Envelope) => showRekey(answer, target.noun, print);
  if (flags.init) {
    const body: JsonObject = {
      secret_shares: flags["key-shares"] ?? SHARES_DEFAULT,
      secret_threshold: flags["key-threshold"] ?? THRESHOLD_DEFAULT,
      require_verification: flags.verify === true,
      ...(flags["pgp-keys"] !== undefined && { pgp_keys: await readPgpKeys(flags["pgp-keys"], io) }),
      ...(flags.backup && { backup: true }),
    };
    return show(await client.write(`${target.path}/init`, body));
  }
  if (flags["backup-retrieve"]) {
    const answer = await client.read(target.backup);
    await print.answer(answer, { data: answer.data ?? {}, table: () => backupText(answer.data ?? {}) });
    return 0;
  }
  if (flags["backup-delete"]) {
    await client.delete(target.backup);
    print.note("Success! The kept shares are deleted.");
    return 0;
  }
  const step = `${target.path}/${flags.verify ? "verify" : "init"}`;
  if (flags.status) return show(await client.read(step));
  if (flags.cancel) {
    await client.delete(step);
    print.note(flags.verify ? "Success! The new shares given so far are forgotten." : "Success! Canceled rekeying.");
    return 0;
  }
  const body = await shareBody(client, step, args[0], flags.nonce, io);
  return show(await client.write(flags.verify ? step : `${target.path}/update`, body));
}

/** A share with the nonce of the attempt that is going on. */
async function shareBody(
  client: ApiClient,
  statusPath: string,
  given: string | undefined,
  nonce: string | undefined,
  io: CliIo,
): Promise<JsonObject> {
  const status = nonce === undefined ? ((await client.read(statusPath)).data ?? {}) : { nonce };
  if (status["started"] === false)
    throw new CofferError("invalid_request", "nothing is in progress; begin with -init, then give the keys");
  const key = given === undefined ? await io.askSecret("Key (will be hidden): ") : await readValue(given, io);
  if (key.trim() === "") throw new CofferError("invalid_request", "the key is empty");
  return { key: key.trim(), nonce: status["nonce"] ?? "" };
}

async function showRekey(answer: Envelope, noun: string, print: Printer): Promise<number> {
  const data = answer.data ?? {};
  await print.answer(answer, {
    data,
    table: () => (data["complete"] === true ? newKeysText(data, noun) : progressTable(data)),
  });
  return 0;
}

function newKeysText(data: JsonObject, noun: string): string {
  const keys = data["keys_base64"];
  const fingerprints = isJsonArray(data["pgp_fingerprints"]) ? data["pgp_fingerprints"] : [];
  const lines = (isJsonArray(keys) ? keys : []).map((key, index) => {
    const fingerprint = fingerprints[index];
    return `${noun} ${index + 1}${fingerprint === undefined ? "" : ` fingerprint: ${cell(fingerprint)}; value`}: ${cell(key)}`;
  });
  if (data["verification_required"] === true) {
    lines.push("", `Verification Nonce: ${cell(data["verification_nonce"])}`, "");
    lines.push("The old keys stay in effect until enough of these were given: coffer operator rekey -verify");
  } else if (lines.length > 0) lines.push("", "These are in effect. They are not stored anywhere and not shown again.");
  else lines.push("Success! The new key is in effect.");
  return `${lines.join("\n")}\n`;
}

function backupText(data: JsonObject): string {
  const byFingerprint = data["keys_base64"];
  const rows = isJsonObject(byFingerprint)
    ? Object.entries(byFingerprint).map(([fingerprint, shares]): Row => [fingerprint, cell(shares)])
    : [];
  return `${table(["Fingerprint", "Encrypted Share"], rows)}\nNonce: ${cell(data["nonce"])}\n`;
}

const PROGRESS_ROWS: readonly (readonly [string, string])[] = [
  ["nonce", "Nonce"],
  ["started", "Started"],
  ["n", "New Shares"],
  ["t", "New Threshold"],
  ["verification_required", "Verification Required"],
  ["verification_nonce", "Verification Nonce"],
  ["complete", "Complete"],
  ["encoded_token", "Encoded Token"],
  ["pgp_fingerprint", "PGP Fingerprint"],
  ["pgp_fingerprints", "PGP Fingerprints"],
  ["otp", "OTP"],
  ["otp_length", "OTP Length"],
];

function progressTable(data: JsonObject): string {
  const rows: Row[] = [];
  for (const [key, name] of PROGRESS_ROWS) {
    const value = data[key];
    if (value !== undefined && value !== "" && value !== null) rows.push([name, cell(value)]);
  }
  const needed = data["required"] ?? data["t"];
  if (data["progress"] !== undefined) rows.push(["Progress", `${cell(data["progress"])}/${cell(needed)}`]);
  return table(["Key", "Value"], rows);
}

export const generateRoot = defineCommand({
  name: "operator generate-root",
  summary: "Makes a root token from shares of the unseal key, or of the recovery key; takes one share at a time.",
  usage: "[key]",
  examples: [
    "operator generate-root -init",
    "operator generate-root",
    "operator generate-root -init -pgp-key=ann.asc",
    "operator generate-root -decode=ENCODED_TOKEN -otp=OTP",
    "operator generate-root -recovery-token -init",
  ],
  flags: {
    init: { kind: "switch", help: "Begin; prints the one-time pad (OTP), which is shown only this once." },
    otp: { kind: "text", help: "With -init: a pad of your own. With -decode: the pad." },
    "pgp-key": {
      kind: "text",
      help: "With -init: file of the PGP public key to encrypt the token to, instead of a pad.",
    },
    decode: { kind: "text", help: "Print the token of an encoded one; needs -otp." },
    "recovery-token": {
      kind: "switch",
      help: "A recovery token in place of a root token, of a server in recovery mode.",
    },
    cancel: { kind: "switch", help: "End the attempt." },
    status: { kind: "switch", help: "Show how far it is." },
    nonce: { kind: "text", help: "Nonce of the attempt; the server is asked for it by default." },
  },
  args: [0, 1],
  async run({ client, flags, args, io, print }) {
    if (flags.decode !== undefined) {
      const token = decodeToken(await readValue(flags.decode, io), flags.otp ?? "");
      await print.value({ token }, () => `${token}\n`);
      return 0;
    }
    const base = flags["recovery-token"] ? "sys/generate-recovery-token" : "sys/generate-root";
    const attempt = `${base}/attempt`;
    const show = async (answer: Envelope): Promise<number> => {
      const data = answer.data ?? {};
      await print.answer(answer, { data, table: () => progressTable(data) });
      return 0;
    };
    if (flags.init) {
      const pgpKey = flags["pgp-key"] === undefined ? undefined : (await readPgpKeys(flags["pgp-key"], io))[0];
      const body = { ...(flags.otp !== undefined && { otp: flags.otp }), ...(pgpKey && { pgp_key: pgpKey }) };
      return show(await client.write(attempt, body));
    }
    if (flags.status) return show(await client.read(attempt));
    if (flags.cancel) {
      await client.delete(attempt);
      print.note(`Success! ${flags["recovery-token"] ? "Recovery" : "Root"} token generation canceled.`);
      return 0;
    }
    const body = await shareBody(client, attempt, args[0], flags.nonce, io);
    return show(await client.write(`${base}/update`, body));
  },
});

/** The token that was combined with the pad. Throws `invalid_request` when they do not fit each other. */
function decodeToken(encoded: string, pad: string): string {
  const bytes = Buffer.from(encoded.trim(), "base64");
  const padBytes = Buffer.from(pad);
  if (bytes.length === 0 || bytes.length !== padBytes.length)
    throw new CofferError("invalid_request", "-decode and -otp must be of one attempt: their lengths differ");
  return Buffer.from(bytes.map((byte, i) => byte ^ (padBytes[i] ?? 0))).toString("utf8");
}

export const rotate = defineCommand({
  name: "operator rotate",
  summary: "Begins a new key of the barrier; what is stored stays readable.",
  usage: "",
  args: [0, 0],
  async run({ client, print }) {
    await client.write("sys/rotate", {});
    print.note("Success! Rotated key\n");
    return showKeyStatus(client, print);
  },
});

export const keyStatus = defineCommand({
  name: "operator key-status",
  summary: "Shows the barrier's current key: its term, its age and how much it has encrypted.",
  usage: "",
  args: [0, 0],
  run: ({ client, print }) => showKeyStatus(client, print),
});

async function showKeyStatus(client: ApiClient, print: Printer): Promise<number> {
  const answer = await client.read("sys/key-status");
  const data = answer.data ?? {};
  const rows: Row[] = [
    ["Key Term", cell(data["term"])],
    ["Install Time", cell(data["install_time"])],
    ["Encryption Count", cell(data["encryptions"])],
  ];
  await print.answer(answer, { data, table: () => table(["Key", "Value"], rows) });
  return 0;
}
