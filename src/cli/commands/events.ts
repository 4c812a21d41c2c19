// `events subscribe`: what happens, one line each, until it is interrupted or the server ends it.
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { defineCommand } from "../command.ts";

export const subscribe = defineCommand({
  name: "events subscribe",
  summary: "Shows events as they happen: changes of KV secrets and of leases.",
  usage: "<type>",
  flags: {
    path: { kind: "text", help: 'Only events about such paths; "*" stands for anything.' },
    filter: { kind: "text", help: "Only events for which an expression is true, such as 'operation != data-write'." },
    namespaces: { kind: "texts", help: "Further namespaces whose events to show." },
    json: { kind: "switch", help: "Print each event whole, as CloudEvents JSON." },
  },
  examples: ["events subscribe 'kv-v2/*'", "events subscribe -path='secret/data/app/*' -json '*'"],
  args: [1, 1],
  async run({ client, flags, args, io }) {
    const path = `sys/events/subscribe/${args[0] ?? ""}`;
    const { path: data_path, filter } = flags;
    const query = { json: true, data_path, filter, namespaces: flags.namespaces?.join(",") || undefined };
    for await (const text of client.messages(path, { query, signal: io.signal })) {
      const event = flags.json ? undefined : parseJson(text);
      io.stdout.write(`${isJsonObject(event) ? line(event) : text}\n`);
    }
    return 0;
  },
});

/** "2026-01-01T00:00:00.000000000Z  kv-v2/data-write  secret/data/a". */
function line(event: JsonObject): string {
  const data = member(event, "data");
  const metadata = member(member(data, "event"), "metadata");
  const namespace = data["namespace"] ? `${String(data["namespace"])}/` : "";
  return [event["time"], event["type"], namespace + String(metadata["data_path"] ?? "")].map(String).join("  ");
}

function member(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  return isJsonObject(value) ? value : {};
}
