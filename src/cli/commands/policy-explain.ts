// `policy explain`: why a token may or may not do something, as a sentence and the rules behind it.
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { list, number, object, string } from "#common/schema.ts";
import { defineCommand } from "../command.ts";
import { table } from "../table.ts";

const explanation = object({
  reason: string,
  operation: string,
  path: string,
  sources: list(object({ policy: string, line: number, path: string, capabilities: list(string) })),
  needed: list(object({ path: string, capability: string })),
});

export const explain = defineCommand({
  name: "policy explain",
  summary: "Tells which rule of which policy at which line decides about a request, and what would have to be granted.",
  usage: "[<operation> <path>]",
  flags: {
    accessor: { kind: "text", help: "Accessor of the token to ask about; the own token by default." },
    decision: { kind: "text", help: "The X-Coffer-Decision header of a refused request." },
  },
  examples: ["policy explain read secret/data/app/db", "policy explain -decision=AXk…"],
  args: [0, 2],
  async run({ client, flags, args, print }) {
    const [operation = "", path = ""] = args;
    const asked = flags.decision === undefined ? { operation, path } : { decision_id: flags.decision };
    const whose = { ...(flags.accessor !== undefined && { accessor: flags.accessor }) };
    const answer = await client.write("sys/policies/explain", { ...asked, ...whose });
    await print.answer(answer, { table: () => (answer.data ? describe(answer.data) : "") });
    return 0;
  },
});

function describe(data: JsonObject): string {
  const { refused, now } = data;
  if (!isJsonObject(refused)) return describeOne(data);
  const then = `Refused at ${String(refused["time"])}: ${String(refused["operation"])} ${String(refused["path"])}\n`;
  return `${then}${isJsonObject(now) ? `Now:\n${describeOne(now)}` : "The token is gone.\n"}`;
}

function describeOne(data: JsonObject): string {
  const { reason, operation, path, sources, needed } = explanation.parse(data, "explanation");
  const rows = sources.map((rule) => [rule.policy, String(rule.line), rule.path, rule.capabilities.join(", ")]);
  const grants = needed.map(
    (grant) => `Would be allowed by: path "${grant.path}" { capabilities = ["${grant.capability}"] }\n`,
  );
  const rules = rows.length === 0 ? "" : `\n${table(["Policy", "Line", "Path", "Capabilities"], rows)}`;
  return `${operation} ${path}: ${reason}\n${grants.join("")}${rules}`;
}
