// `operator init|unseal|seal`: the life of the seal, by hand. (`operator` without a subcommand is the Kubernetes
// operator.)
import { CofferError } from "#common/errors.ts";
import { isJsonArray, type JsonObject, type JsonValue } from "#common/json.ts";
import type { CliIo } from "../cli-io.ts";
import { defineCommand } from "../command.ts";
import { readValue } from "../key-values.ts";
import { readPgpKeys } from "../pgp-keys.ts";
import { sealStatusTable } from "../seal-status.ts";
import { cell } from "../table.ts";

export const init = defineCommand({
  name: "operator init",
  summary: "Initialises a server and prints its keys and root token; they are shown only this once.",
  usage: "",
  examples: [
    "operator init -key-shares=5 -key-threshold=3",
    "operator init -key-shares=2 -key-threshold=2 -pgp-keys=ann.asc,ben.asc -root-token-pgp-key=ann.asc",
    "operator init -status",
  ],
  flags: {
    "key-shares": { kind: "number", help: "Unseal keys to make (5)." },
    "key-threshold": { kind: "number", help: "Unseal keys that are needed (3)." },
    "recovery-shares": { kind: "number", help: "Recovery keys to make, with an auto seal (5)." },
    "recovery-threshold": { kind: "number", help: "Recovery keys that are needed (3)." },
    "pgp-keys": { kind: "text", help: "Files of PGP public keys, comma-separated: one for each unseal key." },
    "recovery-pgp-keys": { kind: "text", help: "The same for recovery keys." },
    "root-token-pgp-key": { kind: "text", help: "File of the PGP public key to encrypt the root token to." },
    status: { kind: "switch", help: "Only tell: exit code 0 initialised, 2 not, 1 error." },
  },
  args: [0, 0],
  async run({ client, flags, io, print }) {
    if (flags.status) {
      const { data } = await client.read("sys/init");
      const isInitialized = data?.["initialized"] === true;
      print.note(isInitialized ? "The server is initialised" : "The server is not initialised");
      return isInitialized ? 0 : 2;
    }
    const { data: seal = {} } = await client.read("sys/seal-status");
    const pgp = await pgpKeyFields(flags, io);
    const answer = await client.write("sys/init", { ...initBody(flags, isAutoSeal(seal)), ...pgp });
    await print.answer(answer, { data: answer.data ?? {}, table: () => keysText(answer.data ?? {}) });
    return 0;
  },
});

/** Vault's own defaults for shares and threshold. */
const SHARES_DEFAULT = 5;
const THRESHOLD_DEFAULT = 3;

type InitNumbers = Readonly<
  Record<"key-shares" | "key-threshold" | "recovery-shares" | "recovery-threshold", number | undefined>
>;

function initBody(flags: InitNumbers, isAuto: boolean): JsonObject {
  if (isAuto) {
    return {
      recovery_shares: flags["recovery-shares"] ?? SHARES_DEFAULT,
      recovery_threshold: flags["recovery-threshold"] ?? THRESHOLD_DEFAULT,
    };
  }
  return {
    secret_shares: flags["key-shares"] ?? SHARES_DEFAULT,
    secret_threshold: flags["key-threshold"] ?? THRESHOLD_DEFAULT,
  };
}

const PGP_FLAGS = ["pgp-keys", "recovery-pgp-keys", "root-token-pgp-key"] as const;

async function pgpKeyFields(
  flags: Readonly<Record<(typeof PGP_FLAGS)[number], string | undefined>>,
  io: CliIo,
): Promise<JsonObject> {
  const fields = PGP_FLAGS.map(async (flag): Promise<[string, JsonValue] | undefined> => {
    const files = flags[flag];
    if (files === undefined) return undefined;
    const keys = await readPgpKeys(files, io);
    return [flag.replaceAll("-", "_"), flag === "root-token-pgp-key" ? (keys[0] ?? "") : keys];
  });
  return Object.fromEntries((await Promise.all(fields)).filter((entry) => entry !== undefined));
}

function isAutoSeal(status: JsonObject): boolean {
  return status["recovery_seal"] === true || (typeof status["type"] === "string" && status["type"] !== "shamir");
}

function keysText(data: JsonObject): string {
  const lines: string[] = [];
  for (const [member, name] of [
    ["keys_base64", "Unseal Key"],
    ["recovery_keys_base64", "Recovery Key"],
  ] as const) {
    const keys = data[member];
    if (!isJsonArray(keys)) continue;
    keys.forEach((key, index) => {
      lines.push(`${name} ${index + 1}: ${cell(key)}`);
    });
  }
  lines.push("", `Initial Root Token: ${cell(data["root_token"])}`, "");
  lines.push("Keep these apart and safe: they are not stored anywhere and cannot be shown again.");
  return `${lines.join("\n")}\n`;
}

export const unseal = defineCommand({
  name: "operator unseal",
  summary: "Gives the server one unseal key; asks for it when it is not an argument.",
  usage: "[key]",
  flags: {
    reset: { kind: "switch", help: "Forget the keys given so far." },
    migrate: { kind: "switch", help: "The keys are for a seal migration." },
  },
  args: [0, 1],
  async run({ client, flags, args, io, print }) {
    const body: JsonObject = flags.reset
      ? { reset: true }
      : { key: await unsealKey(args[0], io), ...(flags.migrate ? { migrate: true } : {}) };
    const answer = await client.write("sys/unseal", body);
    const data = answer.data ?? {};
    await print.answer(answer, { data, table: () => sealStatusTable(data) });
    return 0;
  },
});

async function unsealKey(given: string | undefined, io: Parameters<typeof readValue>[1]): Promise<string> {
  const key = given === undefined ? await io.askSecret("Unseal Key (will be hidden): ") : await readValue(given, io);
  if (key.trim() === "") throw new CofferError("invalid_request", "the unseal key is empty");
  return key.trim();
}

export const seal = defineCommand({
  name: "operator seal",
  summary: "Seals the server: it forgets its keys and serves nothing until it is unsealed.",
  usage: "",
  args: [0, 0],
  async run({ client, print }) {
    await client.write("sys/seal", {});
    print.note("Success! The server is sealed.");
    return 0;
  },
});
