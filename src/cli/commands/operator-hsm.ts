// `operator hsm create-key|status|backups|restore`: the machine that holds a seal's key, from the server's configuration
// and without a server. PINs come from where the configuration says, never from a command line.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { CliIo } from "../cli-io.ts";
import { defineLocalCommand } from "../command.ts";
import { cell, duration, type Row, table } from "../table.ts";

const flags = {
  config: { kind: "texts", help: "Configuration of the server, with its seal stanzas." },
  seal: { kind: "text", help: "Name of the seal, when several have their key in an HSM." },
} as const;
interface Where {
  readonly config: readonly string[];
  readonly seal: string | undefined;
}
/** One HSM in each of two zones: what AWS recommends for keys that matter. */
const HSMS_DEFAULT = 2;
const HSMS_MAX = 10;

export const createKey = defineLocalCommand({
  name: "operator hsm create-key",
  summary: "Makes the seal's key inside the HSM: sensitive, not extractable. Refuses when there is one.",
  usage: "",
  flags,
  examples: ["operator hsm create-key -config=server.hcl", "operator hsm create-key -config=server.hcl -seal=hsm-a"],
  args: [0, 0],
  run: ({ flags: given, io, print }) =>
    withMachine(given, io, async ({ machine, seal }) => {
      const status = tokenJson(await machine.createKey(), seal);
      await print.value(status, () => `Success! Made the key inside the token.\n\n${facts(status)}`);
      return 0;
    }),
});

export const status = defineLocalCommand({
  name: "operator hsm status",
  summary:
    "Logs in to the HSM as the seal would; shows token, scheme and key, and the cluster behind. Exit code 1: no key.",
  usage: "",
  flags,
  examples: ["operator hsm status -config=server.hcl", "operator hsm status -config=server.hcl -format=json"],
  args: [0, 0],
  run: ({ flags: given, io, print }) =>
    withMachine(given, io, async ({ machine, seal }) => {
      const token = tokenJson(await machine.status(), seal);
      const cluster = await machine.cluster
        ?.look()
        .catch((error: unknown): JsonObject => ({ error: messageOf(error) }));
      await print.value({ ...token, ...(cluster !== undefined && { cluster }) }, () =>
        [facts(token), ...(cluster === undefined ? [] : ["\n", clusterText(cluster)])].join(""),
      );
      // For scripts: 0 is a key that could be used.
      return token["key_id"] === null ? 1 : 0;
    }),
});

export const backups = defineLocalCommand({
  name: "operator hsm backups",
  summary: "Lists the backups of the CloudHSM cluster behind the seal, the newest first.",
  usage: "",
  flags: { ...flags, all: { kind: "switch", help: "Those of every cluster in the region." } },
  examples: ["operator hsm backups -config=server.hcl"],
  args: [0, 0],
  run: ({ flags: given, io, print }) =>
    withMachine(given, io, async ({ machine }) => {
      const found = await clusterOf(machine).backups({ isWholeRegion: given.all });
      const row = (backup: JsonObject) =>
        ["id", "cluster_id", "state", "created", "deleted_at"].map((name) => text(backup[name]));
      await print.value([...found], () =>
        found.length === 0
          ? "There is no backup.\n"
          : table(["Backup", "Cluster", "State", "Created", "Gone at"], found.map(row)),
      );
      return 0;
    }),
});

export const restore = defineLocalCommand({
  name: "operator hsm restore",
  summary: "Makes a new CloudHSM cluster from a backup, and its HSMs. Shows the plan; with -yes it is carried out.",
  usage: "",
  flags: {
    ...flags,
    backup: { kind: "text", help: "The backup; the newest that is ready, when left out." },
    subnets: { kind: "texts", help: "Subnets, one for each zone; those of the old cluster, when left out." },
    "hsm-type": { kind: "text", help: "Type of the HSMs; that of the old cluster, when left out." },
    hsms: { kind: "number", help: `HSMs to make, each in its own zone; ${HSMS_DEFAULT} when left out.` },
    "retention-days": { kind: "number", help: "How long the new cluster's backups are kept." },
    yes: { kind: "switch", help: "Do it. AWS charges for every HSM by the hour." },
  },
  examples: [
    "operator hsm restore -config=server.hcl",
    "operator hsm restore -config=server.hcl -backup=backup-abcdefg2345 -subnets=subnet-0a1b2c3d,subnet-1a2b3c4d -yes",
  ],
  args: [0, 0],
  run: ({ flags: given, io, print }) =>
    withMachine(given, io, async ({ machine }) => {
      const cluster = clusterOf(machine);
      const plan = await cluster.planRestore({
        ...{ backupId: given.backup, subnetIds: given.subnets, hsmType: given["hsm-type"] },
        ...{ hsms: count("hsms", given.hsms ?? HSMS_DEFAULT, HSMS_MAX), retentionDays: given["retention-days"] },
      });
      const planned = { ...plan, subnetIds: [...plan.subnetIds] };
      const { backupCreated = null, retentionDays = null, existingId = null, ...certain } = planned;
      const shown: JsonObject = { ...certain, backupCreated, retentionDays, existingId };
      if (!given.yes) {
        await print.value(shown, () => `${planText(shown)}Nothing was done; give -yes to do it.\n`);
        return 0;
      }
      io.stderr.write(planText(shown));
      const step = (line: string) => void io.stderr.write(`${line}\n`);
      const made = await cluster.restore(plan, step, io.signal);
      await print.value(made, () => `\n${clusterText(made)}\n${NEXT}`);
      return 0;
    }),
});

const NEXT =
  "Next: put the new cluster's id into the seal's cloudhsm block, give its HSMs' addresses to the HSM's client\n" +
  "(configure-pkcs11 -a ADDRESS), let the servers into its security group, and restart them. docs/guides/cloudhsm.md.\n";

async function openMachine({ config, seal }: Where, io: CliIo) {
  if (config.length === 0) throw new CofferError("invalid_request", "give -config=FILE, a server's configuration");
  const files = await Promise.all(
    config.map(async (name) => {
      try {
        return { name, text: await readFile(resolve(io.cwd, name), "utf8") };
      } catch (cause) {
        throw new CofferError("invalid_request", `-config: cannot read ${name}: ${messageOf(cause)}`, { cause });
      }
    }),
  );
  const { openKeyMachine } = await import("#server/hsm-tools.ts");
  const dependencies = {
    clock: io.clock,
    readFile: (path: string) => readFile(resolve(io.cwd, path)),
    environment: (name: string) => io.env[name],
  };
  return openKeyMachine({ files, seal, dependencies });
}

type Opened = Awaited<ReturnType<typeof openMachine>>;

/** Runs work and closes the machine; what seals and AWS throw becomes an error of the command. */
async function withMachine(where: Where, io: CliIo, work: (opened: Opened) => Promise<number>): Promise<number> {
  const opened = await openMachine(where, io);
  try {
    return await work(opened);
  } catch (error) {
    if (error instanceof CofferError || !(error instanceof Error)) throw error;
    throw new CofferError("unavailable", error.message, { cause: error });
  } finally {
    await opened.machine.close();
  }
}

function clusterOf({ cluster }: Opened["machine"]) {
  if (cluster !== undefined) return cluster;
  const message = "the seal's stanza names no cluster: add cloudhsm { cluster_id = … } (docs/guides/cloudhsm.md)";
  throw new CofferError("invalid_request", message);
}

function count(flag: string, given: number, max: number): number {
  if (Number.isInteger(given) && given >= 0 && given <= max) return given;
  throw new CofferError("invalid_request", `-${flag} must be 0 to ${max}`);
}

function tokenJson(token: Awaited<ReturnType<Opened["machine"]["status"]>>, seal: string): JsonObject {
  const { library, serial, slot, scheme, keyLabel, keyId = null, hmacKey } = token;
  return {
    ...{ seal, library, token: token.token, serial, slot, scheme, key_label: keyLabel, key_id: keyId },
    ...(hmacKey !== undefined && { hmac_key_label: hmacKey.label, hmac_key: hmacKey.isThere }),
  };
}

function facts(values: JsonObject): string {
  const shown = (name: string) =>
    name === "key_id" && values[name] === null ? "(there is no such key)" : text(values[name]);
  return table(
    ["Key", "Value"],
    Object.keys(values).map((name): Row => [name, shown(name)]),
  );
}

function planText(plan: JsonObject): string {
  const rows: Row[] = [
    ["Region", text(plan["region"])],
    ["Backup", `${text(plan["backupId"])}, made ${text(plan["backupCreated"])}`],
    [
      "Cluster",
      plan["existingId"] === null ? "a new one" : `${text(plan["existingId"])}, made from this backup before`,
    ],
    ["Subnets", list(plan["subnetIds"]).map(text).join(", ")],
    ["HSMs", `${text(plan["hsms"])} of type ${text(plan["hsmType"])}, each in a zone of its own`],
    ["Backups kept", plan["retentionDays"] === null ? "as AWS does by default" : `${text(plan["retentionDays"])} days`],
  ];
  return `${table(["Plan", ""], rows)}\n`;
}

function clusterText(cluster: JsonObject): string {
  if (typeof cluster["error"] === "string") return `The cluster cannot be looked at: ${cluster["error"]}\n`;
  const hsms = list(cluster["hsms"]).map((hsm) =>
    isJsonObject(hsm) ? `${text(hsm["id"])} in ${text(hsm["zone"])} ${text(hsm["state"])}` : "",
  );
  const age = cluster["newest_backup_age_seconds"];
  const rows: Row[] = [
    ["Cluster", `${text(cluster["cluster_id"])} ${text(cluster["state"])}`],
    ...hsms.map((line): Row => ["HSM", line]),
    ...(typeof age === "number" ? [["Newest backup", `${duration(age)} ago`]] : []),
    ...list(cluster["warnings"]).map(
      (warning): Row => ["Warning", isJsonObject(warning) ? text(warning["message"]) : ""],
    ),
  ];
  return table(["Cluster", ""], rows);
}

function list(value: JsonValue | undefined): readonly JsonValue[] {
  return value !== undefined && isJsonArray(value) ? value : [];
}

function text(value: JsonValue | undefined): string {
  return value === undefined || value === null ? "" : cell(value);
}
