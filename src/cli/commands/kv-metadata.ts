// `kv metadata get|put|delete`: settings and versions of a secret of KV version 2.
import { parseEnvelope } from "#client/envelope.ts";
import { createKv } from "#client/kv.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { defineCommand } from "../command.ts";
import { rowsOf, table } from "../table.ts";
import { kvPath, mountFlag } from "./kv.ts";

export const get = defineCommand({
  name: "kv metadata get",
  summary: "Shows a secret's settings and versions.",
  usage: "<path>",
  flags: mountFlag,
  args: [1, 1],
  async run({ client, args, flags, print }) {
    const data = await createKv(client).readMetadata(kvPath(flags, args[0]));
    await print.answer(parseEnvelope({ data }), { data, table: () => metadataTable(data) });
    return 0;
  },
});

function metadataTable(data: JsonObject): string {
  const { versions, ...settings } = data;
  const parts = [table(["Key", "Value"], rowsOf(settings))];
  for (const [number, version] of Object.entries(isJsonObject(versions) ? versions : {})) {
    if (isJsonObject(version)) {
      parts.push(`====== Version ${number} ======\n${table(["Key", "Value"], rowsOf(version))}`);
    }
  }
  return parts.join("\n");
}

export const put = defineCommand({
  name: "kv metadata put",
  summary: "Sets a secret's settings.",
  usage: "<path>",
  flags: {
    ...mountFlag,
    "max-versions": { kind: "number", help: "Versions that are kept." },
    "cas-required": { kind: "switch", help: "Every write must say -cas." },
    "delete-version-after": { kind: "text", help: "Time after which a version is deleted: 3h." },
    "custom-metadata": { kind: "pairs", help: "A key and value of yours; may be given more than once." },
  },
  args: [1, 1],
  async run({ client, args, flags, print }) {
    const path = kvPath(flags, args[0]);
    const custom = flags["custom-metadata"];
    await createKv(client).writeMetadata(path, {
      ...(flags["max-versions"] === undefined ? {} : { max_versions: flags["max-versions"] }),
      ...(flags["cas-required"] ? { cas_required: true } : {}),
      ...(flags["delete-version-after"] ? { delete_version_after: flags["delete-version-after"] } : {}),
      ...(Object.keys(custom).length > 0 ? { custom_metadata: custom } : {}),
    });
    print.note(`Success! Data written to: ${path}`);
    return 0;
  },
});

export const remove = defineCommand({
  name: "kv metadata delete",
  summary: "Removes a secret with all its versions for good.",
  usage: "<path>",
  flags: mountFlag,
  args: [1, 1],
  async run({ client, args, flags, print }) {
    const path = kvPath(flags, args[0]);
    await createKv(client).deleteMetadata(path);
    print.note(`Success! Data deleted (if it existed) at: ${path}`);
    return 0;
  },
});
