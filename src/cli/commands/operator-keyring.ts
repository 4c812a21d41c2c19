// `operator keyring status|retire`: the barrier's keys, and giving up those that nothing is encrypted under any more.
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { defineCommand } from "../command.ts";
import { cell, table } from "../table.ts";

const HUNDRED = 100;

export const status = defineCommand({
  name: "operator keyring status",
  summary: "Shows the barrier's keys, and how much is encrypted under each.",
  usage: "",
  args: [0, 0],
  async run({ client, print }) {
    const { data = {} } = await client.read("sys/rotate/terms");
    await print.value(data, () => statusText(data));
    return 0;
  },
});

function statusText(data: JsonObject): string {
  const rows = (isJsonArray(data["terms"]) ? data["terms"] : []).map((term) => rowOf(isJsonObject(term) ? term : {}));
  const head = ["Term", "State", "Installed", "Ended", "Entries", "Share"];
  const running = data["rewrap_running"] === true;
  const counted = running ? "now, by the rewrap under way" : data["count_time"] ? cell(data["count_time"]) : "never";
  return `${table(head, rows)}\nCounted: ${counted}\n`;
}

function rowOf(term: JsonObject): readonly string[] {
  const state = term["active"] === true ? "active" : term["retirable"] === true ? "can be retired" : "old";
  const shown = (value: JsonValue | undefined) => (value === null || value === undefined ? "-" : cell(value));
  const share = typeof term["share"] === "number" ? `${(term["share"] * HUNDRED).toFixed(1)} %` : "-";
  return [
    ...[cell(term["term"]), state, cell(term["install_time"]), shown(term["end_time"])],
    ...[shown(term["entries"]), share],
  ];
}

export const retire = defineCommand({
  name: "operator keyring retire",
  summary: "Gives up the old keys of the barrier, up to a term, once nothing is encrypted under them any more.",
  usage: "[TERM]",
  examples: ["operator sealwrap rewrap", "operator keyring status", "operator keyring retire"],
  args: [0, 1],
  async run({ client, print, args: [text] }) {
    const term = text === undefined ? undefined : Number(text);
    if (term !== undefined && (!Number.isSafeInteger(term) || term < 1))
      throw new CofferError("invalid_request", "TERM must be the number of a key, as operator keyring status shows it");
    const answer = await client.write("sys/rotate/retire", term === undefined ? {} : { term });
    const data = answer.data ?? {};
    const retired = isJsonArray(data["retired"]) ? data["retired"].map(cell).join(", ") : "";
    await print.answer(answer, { data, table: () => `Success! Retired: ${retired}\n` });
    return 0;
  },
});
