// The templates of roles and scopes: JSON in which `{{variable}}` stands for what identity knows, already as JSON (a
// text comes with its quotes). Pure. Variables are those that clients of Vault know; what an entity does not have is an
// empty text, list or object.
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { Entity, Group } from "../identity-records.ts";

/** Longer templates are refused: every token made with one carries it. */
export const TEMPLATE_BYTES_MAX = 16_384;

/** Claims that tokens have whatever a template says. */
export const RESERVED = ["iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"];

export interface Subject {
  readonly entity: Entity;
  /** Direct and inherited. */
  readonly groups: readonly Group[];
}

const NOBODY: Subject = {
  entity: {
    ...{ id: "", name: "", disabled: false, policies: [], metadata: {}, aliases: [], groupIds: [], mergedIds: [] },
    ...{ created: 0, updated: 0, revision: 0 },
  },
  groups: [],
};

/** A template as the client sent it: as it is, or in base64. */
export function decodeTemplate(sent: string): string {
  const isBase64 = sent.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(sent);
  return isBase64 ? Buffer.from(sent, "base64").toString("utf8") : sent;
}

/** Top-level names of a template. Throws `invalid_request` when it is no JSON object or sets a claim it must not. */
export function checkTemplate(template: string): readonly string[] {
  if (Buffer.byteLength(template) > TEMPLATE_BYTES_MAX)
    throw new CofferError("invalid_request", `template is longer than ${TEMPLATE_BYTES_MAX} bytes; make it shorter`);
  const names = Object.keys(renderTemplate(template, NOBODY, 0));
  const taken = names.find((name) => RESERVED.includes(name));
  if (taken !== undefined) {
    throw new CofferError(
      "invalid_request",
      `top level key ${JSON.stringify(taken)} not allowed. Restricted keys: ${RESERVED.join(", ")}`,
    );
  }
  return names;
}

/** The claims of a template for one entity. Throws `invalid_request` for what is no template. */
export function renderTemplate(template: string, subject: Subject, nowSeconds: number): JsonObject {
  if (template.trim() === "") return {};
  const filled = template.replace(/\{\{(.*?)\}\}/gs, (_match, variable: string) =>
    JSON.stringify(variableValue(variable.trim(), subject, nowSeconds)),
  );
  const claims = parseClaims(filled);
  if (!isJsonObject(claims))
    throw new CofferError("invalid_request", "error parsing template JSON: the template is no JSON object");
  return claims;
}

function parseClaims(text: string): JsonValue {
  try {
    return parseJson(text);
  } catch (error) {
    throw new CofferError("invalid_request", `error parsing template JSON: ${messageOf(error)}`, { cause: error });
  }
}

function variableValue(variable: string, subject: Subject, nowSeconds: number): JsonValue {
  const value = timeValue(variable, nowSeconds) ?? entityValue(variable, subject) ?? groupValue(variable, subject);
  if (value === undefined)
    throw new CofferError(
      "invalid_request",
      `error parsing template: there is no variable ${JSON.stringify(variable)}`,
    );
  return value;
}

function timeValue(variable: string, nowSeconds: number): number | undefined {
  if (variable === "time.now") return nowSeconds;
  const shift = /^time\.now\.(plus|minus)\.(.+)$/.exec(variable);
  const seconds = shift?.[2] === undefined ? undefined : parseDurationSeconds(shift[2]);
  if (seconds === undefined) return undefined;
  return shift?.[1] === "plus" ? nowSeconds + seconds : nowSeconds - seconds;
}

function entityValue(variable: string, { entity, groups }: Subject): JsonValue | undefined {
  const member = after(variable, "identity.entity.");
  if (member === undefined) return undefined;
  if (member === "id") return entity.id;
  if (member === "name") return entity.name;
  if (member === "groups.ids") return groups.map((group) => group.id);
  if (member === "groups.names") return groups.map((group) => group.name);
  const rest = after(member, "aliases.");
  if (rest === undefined) return pairs(member, "metadata", entity.metadata);
  const alias = entity.aliases.find((one) => rest.startsWith(`${one.mountAccessor}.`));
  const ofAlias = rest.slice(rest.indexOf(".") + 1);
  if (ofAlias === "id" || ofAlias === "name") return alias?.[ofAlias] ?? "";
  return (
    pairs(ofAlias, "metadata", alias?.metadata ?? {}) ?? pairs(ofAlias, "custom_metadata", alias?.customMetadata ?? {})
  );
}

function groupValue(variable: string, { groups }: Subject): JsonValue | undefined {
  const found = /^identity\.groups\.(ids|names)\.(.+)\.(id|name|metadata\..+)$/s.exec(variable);
  const [, by, handle, member] = found ?? [];
  if (handle === undefined || member === undefined) return undefined;
  const group = groups.find((one) => (by === "ids" ? one.id : one.name) === handle);
  if (member === "id" || member === "name") return group?.[member] ?? "";
  return pairs(member, "metadata", group?.metadata ?? {});
}

/** All of some metadata, or the value of one key; undefined when the variable is about something else. */
function pairs(member: string, name: string, metadata: Readonly<Record<string, string>>): JsonValue | undefined {
  if (member === name) return metadata;
  const key = after(member, `${name}.`);
  if (key === undefined) return undefined;
  return Object.hasOwn(metadata, key) ? (metadata[key] ?? "") : "";
}

function after(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}
