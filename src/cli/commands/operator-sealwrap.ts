// `operator sealwrap status|rewrap|rotate`: the seal's layer on critical values.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { defineCommand } from "../command.ts";
import { cell, type Row, table } from "../table.ts";

const HUNDRED = 100;

export const status = defineCommand({
  name: "operator sealwrap status",
  summary: "Shows what is wrapped by which seals and keys, and how far the rewrap is.",
  usage: "",
  examples: ["operator sealwrap status", "operator sealwrap status -format=json"],
  args: [0, 0],
  async run({ client, print }) {
    const { data = {} } = await client.read("sys/sealwrap/rewrap");
    await print.value(data, () => statusText(data));
    return 0;
  },
});

function statusText(data: JsonObject): string {
  const rows: Row[] = [
    ["Wrapping", data["wrapping"] === true ? "yes" : `no: ${cell(data["reason"])}`],
    ["Rewrap", data["is_running"] === true ? "running" : "not running"],
    ...Object.entries(objectOf(data["entries"])).map(([name, count]) => [`Entries ${name}`, cell(count)]),
    ["Last error", cell(data["last_error"])],
    ...coverageRows(objectOf(data["coverage"])),
  ];
  return `${table(["Key", "Value"], rows)}\n${generationTable(data["generations"])}`;
}

function coverageRows(coverage: JsonObject): Row[] {
  if (Object.keys(coverage).length === 0) return [["Coverage", "not counted yet; rewrap counts it"]];
  const share = (Number(coverage["share"]) * HUNDRED).toFixed(1);
  const counted = `${cell(coverage["wrapped"])} of ${cell(coverage["critical"])} critical entries (${share} %)`;
  const by = (name: string) =>
    Object.entries(objectOf(coverage[name]))
      .map(([key, count]) => `${key}: ${cell(count)}`)
      .join(", ");
  return [
    ["Coverage", counted],
    ["Counted", cell(coverage["time"])],
    ["Entries by generation", by("by_generation")],
    ["Entries by term", by("by_term")],
  ];
}

function generationTable(generations: JsonValue | undefined): string {
  const rows = (isJsonArray(generations) ? generations : []).map(objectOf).flatMap((generation) => {
    const seals = isJsonArray(generation["seals"]) ? generation["seals"].map(objectOf) : [];
    return seals.map((seal) => [
      cell(generation["generation"]),
      cell(seal["name"]),
      cell(seal["key_id"]),
      cell(seal["wrap_time"]),
    ]);
  });
  return rows.length === 0 ? "" : table(["Generation", "Seal", "Key", "Wrapped"], rows);
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

export const rewrap = defineCommand({
  name: "operator sealwrap rewrap",
  summary: "Brings everything stored to the form it would have if it were written now, in the background.",
  usage: "",
  args: [0, 0],
  async run({ client, print }) {
    await client.write("sys/sealwrap/rewrap", {});
    print.note("Success! The rewrap has started; operator sealwrap status shows how far it is");
    return 0;
  },
});

export const rotate = defineCommand({
  name: "operator sealwrap rotate",
  summary: "Makes a new seal-wrap key and starts the rewrap.",
  usage: "",
  args: [0, 0],
  async run({ client, print }) {
    const answer = await client.write("sys/sealwrap/rotate", {});
    const data = answer.data ?? {};
    await print.answer(answer, { data, table: () => `Success! Generation ${cell(data["generation"])} wraps now\n` });
    return 0;
  },
});
