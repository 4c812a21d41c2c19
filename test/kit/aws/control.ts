// The responder's levers over HTTP, for tests that run it as a process: POST /_control with a JSON object whose members
// are pulled in order of this table; GET /_control tells requests, faults and keys (never their material). Unsigned: it
// is a test kit and must not be reachable by anybody but the test.
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { boolean, list, map, number, object, oneOf, optional, type Schema, string } from "#common/schema.ts";
import type { AccessControl } from "./access.ts";
import { AwsError } from "./aws-error.ts";
import type { Faults } from "./faults.ts";
import type { KeyStore } from "./kms-keys.ts";

export interface Controlled {
  readonly store: KeyStore;
  readonly access: AccessControl;
  readonly faults: Faults;
  readonly requests: ReadonlyMap<string, number>;
}

type Lever = (argument: JsonValue, parts: Controlled) => JsonObject | undefined;

/** A lever with an argument of the given shape. */
function lever<T>(schema: Schema<T>, pull: (argument: T, parts: Controlled) => void): Lever {
  return (argument, parts) => {
    pull(schema.parse(argument), parts);
    return undefined;
  };
}

/** A lever that gives something back. */
function asking<T>(schema: Schema<T>, pull: (argument: T, parts: Controlled) => JsonObject): Lever {
  return (argument, parts) => pull(schema.parse(argument), parts);
}

const counted = object({ count: number, operation: optional(string) });
const statement = object({
  effect: oneOf("Allow", "Deny"),
  actions: list(string),
  resources: optional(list(string)),
  encryptionContext: optional(map(string)),
});

const LEVERS: Readonly<Record<string, Lever>> = {
  /** Ends every fault: { "clear": true }. Keys stay as they are. */
  clear: lever(boolean, (_, { faults }) => faults.clear()),
  /** { "throttle": { "count": 3, "operation": "Encrypt" } } */
  throttle: lever(counted, ({ count, operation }, { faults }) => faults.throttle(count, { operation })),
  /** { "fail": { "count": 1, "status": 503, "code": "ServiceUnavailableException" } } */
  fail: lever(
    object({ count: number, operation: optional(string), status: optional(number), code: optional(string) }),
    ({ count, ...how }, { faults }) => faults.fail(count, how),
  ),
  latencyMillis: lever(number, (millis, { faults }) => {
    faults.latencyMillis = millis;
  }),
  down: lever(boolean, (on, { faults }) => {
    faults.down = on;
  }),
  hang: lever(boolean, (on, { faults }) => {
    faults.hang = on;
  }),
  /** Key levers take an id, ARN or alias. */
  disable: lever(string, (key, { store }) => store.setState(store.resolve(key), "Disabled")),
  enable: lever(string, (key, { store }) => store.setState(store.resolve(key), "Enabled")),
  pendingDeletion: lever(string, (key, { store }) => store.scheduleDeletion(store.resolve(key), 7)),
  rotate: lever(string, (key, { store }) => store.rotate(store.resolve(key))),
  /** { "createKey": { "alias": "alias/coffer" } } answers { "keyId", "arn" }. Moves an alias that exists. */
  createKey: asking(object({ alias: optional(string) }), ({ alias }, { store }) => {
    const key = store.create();
    if (alias !== undefined) store.setAlias(alias, key);
    return { keyId: key.id, arn: key.arn };
  }),
  /** { "policy": { "of": "AKIA...", "statements": [...] } }, `of` being an access key or a role's name. */
  policy: lever(object({ of: string, statements: list(statement) }), ({ of, statements }, { access }) =>
    access.setPolicy(
      of,
      statements.map(({ resources, encryptionContext, ...rest }) => ({
        ...rest,
        ...(resources === undefined ? {} : { resources }),
        ...(encryptionContext === undefined ? {} : { encryptionContext }),
      })),
    ),
  ),
};

/** Pulls the levers; the answer holds what they gave back. Throws AwsError 400 for an unknown one. */
export function pullLevers(command: JsonValue, parts: Controlled): JsonObject {
  const members = isJsonObject(command) ? command : {};
  const unknown = Object.keys(members).find((name) => !Object.hasOwn(LEVERS, name));
  if (unknown !== undefined || !isJsonObject(command))
    throw new AwsError("UnknownControl", `no such control: ${unknown}; known: ${Object.keys(LEVERS).join(", ")}`);
  const results = Object.entries(LEVERS).flatMap(([name, pull]) => {
    const argument = members[name];
    const result = argument === undefined ? undefined : pull(argument, parts);
    return result === undefined ? [] : [[name, result] as const];
  });
  return Object.fromEntries(results);
}

/** What GET /_control answers. */
export function controlStatus({ store, faults, requests }: Controlled): JsonObject {
  return {
    requests: Object.fromEntries(requests),
    faults: {
      latencyMillis: faults.latencyMillis,
      down: faults.down,
      hang: faults.hang,
      pending: faults.pending(),
    },
    keys: [...store.keys.values()].map((key) => ({
      arn: key.arn,
      state: key.state,
      materials: key.materials.length,
      aliases: [...store.aliases].filter(([, id]) => id === key.id).map(([alias]) => alias),
    })),
  };
}
