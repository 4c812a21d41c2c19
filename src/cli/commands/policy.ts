// `policy list|read|write|delete`.
import { string } from "#common/schema.ts";
import { defineCommand } from "../command.ts";
import { readValue } from "../key-values.ts";
import { cell } from "../table.ts";

export const list = defineCommand({
  name: "policy list",
  summary: "Lists the policies.",
  usage: "",
  args: [0, 0],
  async run({ client, print }) {
    const names = await client.list("sys/policies/acl");
    await print.value(names, () => names.map((name) => `${name}\n`).join(""));
    return 0;
  },
});

export const read = defineCommand({
  name: "policy read",
  summary: "Prints a policy.",
  usage: "<name>",
  args: [1, 1],
  async run({ client, args, print }) {
    const answer = await client.read(`sys/policies/acl/${args[0]}`);
    await print.answer(answer, { table: () => `${cell(answer.data?.["policy"])}\n` });
    return 0;
  },
});

export const write = defineCommand({
  name: "policy write",
  summary: "Writes a policy from a file, or from standard input with -.",
  usage: "<name> <file>",
  flags: {
    cas: { kind: "text", help: "Version that the policy must have; -1 for none yet." },
    "cas-required": { kind: "switch", help: "The next write must say -cas." },
    ttl: { kind: "text", help: "Time after which the policy counts no more: 4h." },
    expiration: { kind: "text", help: "The same as a time: 2030-01-31T12:00:00Z." },
  },
  examples: ["policy write app app.hcl", "policy write -ttl=4h incident-42 incident.hcl"],
  args: [2, 2],
  async run({ client, args, flags, io, print }) {
    const [name, file = "-"] = args;
    const policy = string.parse(await readValue(file === "-" ? "-" : `@${file.replace(/^@/, "")}`, io), "policy");
    await client.write(`sys/policies/acl/${name}`, {
      policy,
      ...(flags.cas !== undefined && { cas: flags.cas }),
      ...(flags["cas-required"] && { cas_required: true }),
      ...(flags.ttl !== undefined && { ttl: flags.ttl }),
      ...(flags.expiration !== undefined && { expiration: flags.expiration }),
    });
    print.note(`Success! Uploaded policy: ${name}`);
    return 0;
  },
});

export const remove = defineCommand({
  name: "policy delete",
  summary: "Deletes a policy.",
  usage: "<name>",
  args: [1, 1],
  async run({ client, args, print }) {
    await client.delete(`sys/policies/acl/${args[0]}`);
    print.note(`Success! Deleted policy: ${args[0]}`);
    return 0;
  },
});
