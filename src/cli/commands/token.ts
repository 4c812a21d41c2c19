// `token create|lookup|renew|revoke`.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { defineCommand } from "../command.ts";

const accessorFlag = { accessor: { kind: "switch", help: "The argument is an accessor, not a token." } } as const;

export const create = defineCommand({
  name: "token create",
  summary: "Creates a token.",
  usage: "",
  examples: ["token create -policy=app -ttl=1h", "token create -orphan -period=24h"],
  flags: {
    id: { kind: "text", help: "The token itself, instead of a random one." },
    policy: { kind: "texts", help: "A policy; may be given more than once." },
    ttl: { kind: "text", help: "First ttl: 1h." },
    "explicit-max-ttl": { kind: "text", help: "Ttl that no renewal exceeds." },
    period: { kind: "text", help: "Makes it renewable for ever, by this period." },
    "display-name": { kind: "text", help: "Name for logs." },
    "use-limit": { kind: "number", help: "How often it can be used." },
    orphan: { kind: "switch", help: "It survives its parent." },
    "no-default-policy": { kind: "switch", help: 'Without the policy "default".' },
    "not-renewable": { kind: "switch", help: "It cannot be renewed." },
    type: { kind: "text", help: "service (the default) or batch." },
    role: { kind: "text", help: "Role of the token method to create it by." },
    metadata: { kind: "pairs", help: "A key=value for logs; may be given more than once." },
  },
  args: [0, 0],
  async run({ client, flags, print }) {
    const text = { id: flags.id, ttl: flags.ttl, period: flags.period, type: flags.type };
    const body: JsonObject = {
      ...present(text),
      ...present({ explicit_max_ttl: flags["explicit-max-ttl"], display_name: flags["display-name"] }),
      ...(flags.policy.length > 0 ? { policies: flags.policy } : {}),
      ...(flags["use-limit"] === undefined ? {} : { num_uses: flags["use-limit"] }),
      ...(flags["no-default-policy"] ? { no_default_policy: true } : {}),
      ...(flags["not-renewable"] ? { renewable: false } : {}),
      ...(Object.keys(flags.metadata).length > 0 ? { meta: flags.metadata } : {}),
    };
    await print.answer(await client.write(createPath(flags.orphan, flags.role), body));
    return 0;
  },
});

function createPath(isOrphan: boolean, role: string | undefined): string {
  if (role !== undefined) return `auth/token/create/${role}`;
  return isOrphan ? "auth/token/create-orphan" : "auth/token/create";
}

function present(members: Readonly<Record<string, string | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(members).flatMap(([key, value]) => (value ? [[key, value]] : [])));
}

export const lookup = defineCommand({
  name: "token lookup",
  summary: "Shows a token: its policies, ttl and more; one's own when none is given.",
  usage: "[token]",
  flags: accessorFlag,
  args: [0, 1],
  async run({ client, flags, args, print }) {
    const [given] = args;
    if (flags.accessor) {
      await print.answer(await client.write("auth/token/lookup-accessor", { accessor: needed(given, "accessor") }));
    } else if (given === undefined) await print.answer(await client.read("auth/token/lookup-self"));
    else await print.answer(await client.write("auth/token/lookup", { token: given }));
    return 0;
  },
});

export const renew = defineCommand({
  name: "token renew",
  summary: "Renews a token; one's own when none is given.",
  usage: "[token]",
  flags: { ...accessorFlag, increment: { kind: "text", help: "Ttl to ask for." } },
  args: [0, 1],
  async run({ client, flags, args, print }) {
    const [given] = args;
    const increment = present({ increment: flags.increment });
    const call = () => {
      if (flags.accessor) {
        return client.write("auth/token/renew-accessor", { accessor: needed(given, "accessor"), ...increment });
      }
      if (given === undefined) return client.write("auth/token/renew-self", increment);
      return client.write("auth/token/renew", { token: given, ...increment });
    };
    await print.answer(await call());
    return 0;
  },
});

export const revoke = defineCommand({
  name: "token revoke",
  summary: "Revokes a token with its children and leases.",
  usage: "[token]",
  flags: {
    ...accessorFlag,
    self: { kind: "switch", help: "Revoke one's own token." },
    mode: { kind: "text", help: "orphan: keep the children, as orphans." },
  },
  args: [0, 1],
  async run({ client, flags, args, print }) {
    const [given] = args;
    if (flags.mode !== undefined && flags.mode !== "orphan") {
      throw new CofferError("invalid_request", `the mode "${flags.mode}" is unknown; use orphan or none`);
    }
    if (flags.self) await client.write("auth/token/revoke-self", {});
    else if (flags.accessor) await client.write("auth/token/revoke-accessor", { accessor: needed(given, "accessor") });
    else {
      const path = flags.mode === "orphan" ? "auth/token/revoke-orphan" : "auth/token/revoke";
      await client.write(path, { token: needed(given, "token, or -self") });
    }
    print.note("Success! Revoked token (if it existed)");
    return 0;
  },
});

function needed(value: string | undefined, what: string): string {
  if (value !== undefined) return value;
  throw new CofferError("invalid_request", `give the ${what}`);
}
