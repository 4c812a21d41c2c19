// `subkeys/<path>`: the structure of a secret without its values, for those who may know what is in it but not read it.
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply } from "../../framework/reply.ts";
import { isReadable, readData, readKey, versionReply } from "./v2-records.ts";

export const subkeysPath = definePath("subkeys/:path*", {
  summary: "Names of a secret's members, the values left out.",
  fields: {
    version: field.integer("The version to read; 0 is the latest."),
    depth: field.integer("How many levels to show; 0 shows all."),
  },
  operations: {
    read: {
      summary: "Read the names.",
      handler: async (context, { path, version: wanted, depth }) => {
        const key = await readKey(context, path);
        const number = wanted || key?.current;
        const version = key?.versions[number ?? 0];
        if (key === undefined || number === undefined || version === undefined) return undefined;
        const metadata = versionReply(key, number, version);
        if (!isReadable(version, context.clock.now())) return { status: 404, data: { subkeys: null, metadata } };
        return dataReply({ subkeys: namesOf(await readData(context, path, number), depth || Infinity), metadata });
      },
    },
  },
});

function namesOf(data: JsonObject, depth: number): JsonObject {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, below(value, depth - 1)]));
}

function below(value: JsonValue, depth: number): JsonValue {
  return depth > 0 && isJsonObject(value) && Object.keys(value).length > 0 ? namesOf(value, depth) : null;
}
