// `operator journal list|retry|remove`: what engines made outside of the server and has not been undone.
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { defineCommand } from "../command.ts";
import { cell, duration, type Row, table } from "../table.ts";

const HEAD: Row = ["ID", "Mount", "Kind", "State", "Age", "Attempts", "Error"];

export const list = defineCommand({
  name: "operator journal list",
  summary: "Lists what engines made outside and what is not settled or undone yet.",
  usage: "",
  examples: ["operator journal list", "operator journal list -format=json"],
  args: [0, 0],
  async run({ client, print }) {
    const entries = await readEntries(client);
    await print.value(entries, () => {
      const rows = Object.entries(entries).map(([id, entry]) => rowOf(id, isJsonObject(entry) ? entry : {}));
      return rows.length === 0 ? "The journal is empty.\n" : table(HEAD, rows);
    });
    return 0;
  },
});

async function readEntries(client: ApiClient): Promise<JsonObject> {
  try {
    const { data } = await client.read("sys/journal", { query: { list: "true" } });
    const entries = data?.["key_info"];
    return isJsonObject(entries) ? entries : {};
  } catch (error) {
    if (error instanceof ApiError && error.status === 404 && error.errors.length === 0) return {};
    throw error;
  }
}

function rowOf(id: string, entry: JsonObject): Row {
  const [mount, kind, state] = [cell(entry["mount_path"]), cell(entry["kind"]), cell(entry["state"])];
  const error = cell(entry["error"]).replaceAll(/\s+/g, " ");
  return [id, mount, kind, state, duration(Number(entry["age"])), cell(entry["attempts"]), error];
}

export const retry = defineCommand({
  name: "operator journal retry",
  summary: "Tries again to undo what could not be undone: one entry, or all that are stuck.",
  usage: "[id]",
  args: [0, 1],
  async run({ client, args, print }) {
    const [id] = args;
    const answer = await client.write("sys/journal/retry", id === undefined ? {} : { id });
    const data = answer.data ?? {};
    await print.answer(answer, { data, table: () => `Success! Trying again: ${cell(data["retried"])}\n` });
    return 0;
  },
});

export const remove = defineCommand({
  name: "operator journal remove",
  summary: "Forgets an entry without undoing it: what was made may live on.",
  usage: "<id>",
  flags: { force: { kind: "switch", help: "Needed: only you can know that nothing is left outside." } },
  examples: ["operator journal remove -force 6f1c…-00a1"],
  args: [1, 1],
  async run({ client, args, flags, print }) {
    if (!flags.force)
      throw new CofferError("invalid_request", "the entry would be forgotten and not undone; give -force for that");
    await client.delete(`sys/journal/${args[0]}`);
    print.note(`Success! Forgot journal entry: ${args[0]}`);
    return 0;
  },
});
