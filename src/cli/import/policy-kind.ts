// Kind `policies`: ACL policies as text. Templates name auth mounts by accessor, which each server makes for itself, so
// accessors are replaced by those of the destination's mounts.
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { namesBelow, planRecord, readOrNone } from "./compare-records.ts";
import type { Ends, ImportKind, Plan } from "./import-item.ts";
import { accessorsOf } from "./mount-tables.ts";

/** Made by each server and not to be written. */
const BUILT_IN = ["root", "response-wrapping", "control-group"];
const GROUP_IDS = /identity\.groups\.ids\./;

export const policies: ImportKind = {
  name: "policies",
  doc: "ACL policies; accessors of auth methods in their templates are translated.",
  async *items(ends) {
    const accessors = await accessorsOf(ends);
    for await (const name of namesBelow(ends.source, "sys/policies/acl")) {
      if (!BUILT_IN.includes(name)) yield { path: name, plan: () => planPolicy(ends, name, accessors) };
    }
  },
};

async function planPolicy(ends: Ends, name: string, accessors: Awaited<ReturnType<typeof accessorsOf>>): Promise<Plan> {
  const path = `sys/policies/acl/${name}`;
  const [from, to] = [await readOrNone(ends.source, path), await readOrNone(ends.target, path)];
  if (from === undefined) return { action: "skip", reason: "it is gone from the source" };
  const losses: string[] = [];
  let text = textOf(from);
  for (const [accessor, { path: mount, target }] of accessors) {
    if (!text.includes(accessor)) continue;
    if (target === undefined) losses.push(`names auth/${mount} by accessor, which the destination does not have`);
    else text = text.replaceAll(accessor, target);
  }
  if (GROUP_IDS.test(text)) losses.push("names groups by id, and the destination gives its own ids; use names");
  return planRecord({
    wanted: { policy: text, ...endOf(from) },
    present: to && { policy: textOf(to), ...endOf(to) },
    ...{ fields: ["policy", "expiration"], losses },
    write: (body) =>
      ends.target.write(path, { ...body, ...(to?.["cas_required"] === true && { cas: to["version"] ?? 0 }) }),
  });
}

/** When a policy ends by itself, in one form whatever the server's. */
function endOf({ expiration }: JsonObject): JsonObject {
  const millis = typeof expiration === "string" ? Date.parse(expiration) : Number.NaN;
  return Number.isNaN(millis) ? {} : { expiration: new Date(millis).toISOString() };
}

function textOf(data: JsonObject): string {
  const { policy, rules } = data;
  const text = policy ?? rules;
  if (isJsonObject(text)) return JSON.stringify(text);
  return typeof text === "string" ? text : "";
}
