// Replays recorded HTTP conversations against a running server and compares what comes back. The recordings in
// scenarios/ are data, made with a server of the same API; what differs from run to run is a placeholder in them.
//
// A scenario is { title, needs?, vars?, setup?: step[], steps: step[], cleanup?: step[] }, a step
//   { name?, do: "METHOD path?query", body? | raw?, token?, headers?, save?, expect?, sleep?, retry? }:
//   token    left out: the root token; null: none; else a text that may hold ${var}
//   save     { var: "data.keys.0" } keeps a member of the answer, "@header:Name" a header
//   retry    seconds in which a step that does not match is tried again; sleep: milliseconds to wait first
//   expect   { status, body?, headers? }; members that are not named are free
// Texts may hold ${var}: ${run} is new for every replay, ${env.NAME} comes from the environment given, and a scenario
// that needs one that is not there is skipped. A difference is hard when it would break a client, soft when it is only
// the wording of an error or a warning. Integers of 16 digits and more are compared by their digits.
import { randomBytes } from "node:crypto";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import {
  isJsonArray,
  isJsonObject,
  isNumberLiteral,
  type JsonArray,
  type JsonObject,
  type JsonValue,
  parseJson,
} from "#common/json.ts";
import { compare, type Differences, shorten } from "./compare.ts";

export interface ReplayTarget {
  /** Such as http://127.0.0.1:8200. */
  readonly address: string;
  readonly rootToken: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface ReplayOutcome {
  readonly hard: string[];
  readonly soft: string[];
  /** Why the scenario was not run. */
  readonly skipped?: string;
}

interface Answer {
  readonly status: number;
  readonly body: JsonValue;
  readonly headers: Headers;
}

type Variables = Map<string, JsonValue>;

const RETRY_PAUSE_MILLIS = 200;
const REQUEST_TIMEOUT_MILLIS = 60_000;
const MERGE_PATCH = "application/merge-patch+json";

/** Runs a scenario; its cleanup runs whatever happens. Differences in `hard` are failures. */
export async function replay(scenario: JsonObject, target: ReplayTarget): Promise<ReplayOutcome> {
  const variables: Variables = new Map(Object.entries(objectOf(scenario["vars"])));
  variables.set("run", `r${randomBytes(4).toString("hex")}`);
  const missing = takeEnvironment(scenario, target, variables);
  if (missing.length > 0) return { hard: [], soft: [], skipped: `${missing.join(", ")} not set` };
  const found: Differences = { hard: [], soft: [] };
  const run = (step: JsonObject) => runStep(step, target, variables);
  try {
    for (const step of stepsOf(scenario, "setup")) await setUp(step, run, found);
    for (const [i, step] of stepsOf(scenario, "steps").entries()) {
      const name = `${i} ${textOf(step["name"]) ?? textOf(step["do"]) ?? ""}`;
      const { differences } = await run(step);
      found.hard.push(...differences.hard.map((line) => `${name}: ${line}`));
      found.soft.push(...differences.soft.map((line) => `${name}: ${line}`));
    }
  } catch (error) {
    found.hard.push(`stopped: ${messageOf(error)}`);
  }
  for (const step of stepsOf(scenario, "cleanup")) await run(step).catch(() => undefined);
  return found;
}

type Run = (step: JsonObject) => Promise<{ answer: Answer | undefined; differences: Differences }>;

async function setUp(step: JsonObject, run: Run, found: Differences): Promise<void> {
  const { answer } = await run(step);
  if (answer !== undefined && answer.status >= 400)
    found.hard.push(`setup ${textOf(step["do"])}: ${answer.status} ${shorten(answer.body)}`);
}

/** Puts what the scenario wants of the environment among the variables; answers what is not there. */
function takeEnvironment(scenario: JsonObject, { env }: ReplayTarget, variables: Variables): readonly string[] {
  const missing = new Set<string>();
  for (const [, name = ""] of JSON.stringify(scenario).matchAll(/\$\{env\.([A-Z0-9_]+)\}/g)) {
    const value = env[name];
    if (value === undefined) missing.add(name);
    else variables.set(`env.${name}`, value);
  }
  return [...missing];
}

async function runStep(step: JsonObject, target: ReplayTarget, variables: Variables): ReturnType<Run> {
  const pause = numberOf(step["sleep"]);
  if (pause > 0) await systemClock.sleep(pause);
  if (step["do"] === undefined) return { answer: undefined, differences: { hard: [], soft: [] } };
  const until = systemClock.now() + numberOf(step["retry"]) * 1000;
  for (;;) {
    const answer = await send(step, target, variables);
    const differences = compareAnswer(step["expect"], answer, variables);
    if (differences.hard.length > 0 && systemClock.now() < until) {
      await systemClock.sleep(RETRY_PAUSE_MILLIS);
      continue;
    }
    save(step, answer, variables);
    return { answer, differences };
  }
}

async function send(step: JsonObject, { address, rootToken }: ReplayTarget, variables: Variables): Promise<Answer> {
  const [method = "", ...rest] = fillText(textOf(step["do"]) ?? "", variables).split(" ");
  const headers = new Headers({ "X-Vault-Request": "true" });
  for (const [name, value] of Object.entries(objectOf(fill(step["headers"] ?? {}, variables))))
    headers.set(name, textOf(value) ?? "");
  const token = step["token"] === undefined ? rootToken : fillText(textOf(step["token"]) ?? "", variables);
  if (token !== "") headers.set("X-Vault-Token", token);
  const body = bodyOf(step, variables);
  if (body !== undefined && !headers.has("Content-Type"))
    headers.set("Content-Type", method === "PATCH" ? MERGE_PATCH : "application/json");
  const response = await fetch(`${address}/v1/${rest.join(" ")}`, {
    method,
    headers,
    redirect: "manual",
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MILLIS),
    ...(body !== undefined && { body }),
  });
  return { status: response.status, headers: response.headers, body: parseBody(await response.text()) };
}

function bodyOf(step: JsonObject, variables: Variables): string | undefined {
  if (step["raw"] !== undefined) return fillText(textOf(step["raw"]) ?? "", variables);
  return step["body"] === undefined ? undefined : JSON.stringify(fill(step["body"], variables));
}

/** An answer's body: null when empty, the text itself when it is no JSON. */
function parseBody(text: string): JsonValue {
  if (text === "") return null;
  try {
    return withExactIntegers(parseJson(text));
  } catch {
    return text;
  }
}

/** Integers that a double may not hold become "<exact digits>", as they stand in the recordings. */
function withExactIntegers(value: JsonValue): JsonValue {
  if (typeof value === "number" || isNumberLiteral(value)) {
    const digits = typeof value === "number" ? String(value) : value.rawJSON;
    return /^-?\d{16,}$/.test(digits) ? `<exact ${digits}>` : Number(digits);
  }
  if (isJsonArray(value)) return value.map(withExactIntegers);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withExactIntegers(member)]));
}

function compareAnswer(expected: JsonValue | undefined, answer: Answer, variables: Variables): Differences {
  const found: Differences = { hard: [], soft: [] };
  if (expected === undefined) return found;
  const want = objectOf(fill(expected, variables));
  const { status, body } = want;
  if (status !== undefined && status !== answer.status)
    found.hard.push(`status: want ${shorten(status)}, got ${answer.status} ${shorten(answer.body)}`);
  else if (body !== undefined) compare(body, answer.body, "body", found);
  for (const [name, value] of Object.entries(objectOf(want["headers"])))
    compare(value, answer.headers.get(name), `header ${name}`, found);
  return found;
}

function save(step: JsonObject, answer: Answer, variables: Variables): void {
  for (const [name, source] of Object.entries(objectOf(step["save"]))) {
    const path = textOf(source) ?? "";
    const header = /^@header:(.+)$/.exec(path)?.[1];
    const value = header === undefined ? memberAt(answer.body, path) : answer.headers.get(header);
    if (value !== undefined && value !== null) variables.set(name, value);
  }
}

/** The member at a dotted path; list items by their number. */
function memberAt(body: JsonValue, path: string): JsonValue | undefined {
  let at: JsonValue | undefined = body;
  for (const name of path.split(".")) {
    if (isJsonArray(at)) at = at[Number(name)];
    else at = isJsonObject(at) ? at[name] : undefined;
  }
  return at;
}

function fill(value: JsonValue, variables: Variables): JsonValue {
  if (typeof value === "string") return fillText(value, variables);
  if (isJsonArray(value)) return value.map((item) => fill(item, variables));
  if (!isJsonObject(value)) return value;
  const members = Object.entries(value).map(([name, member]) => [fillText(name, variables), fill(member, variables)]);
  return Object.fromEntries(members);
}

/** Puts variables into a text; names that are not known stay as they stand. */
function fillText(text: string, variables: Variables): string {
  return text.replace(/\$\{([^}]+)\}/g, (whole, name: string) => {
    const value = variables.get(name);
    return value === undefined ? whole : typeof value === "string" ? value : JSON.stringify(value);
  });
}

function stepsOf(scenario: JsonObject, part: "setup" | "steps" | "cleanup"): readonly JsonObject[] {
  const steps: JsonArray = isJsonArray(scenario[part]) ? scenario[part] : [];
  return steps.filter(isJsonObject);
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberOf(value: JsonValue | undefined): number {
  return typeof value === "number" ? value : 0;
}
