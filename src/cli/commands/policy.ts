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
  examples: ["policy write app app.hcl"],
  args: [2, 2],
  async run({ client, args, io, print }) {
    const [name, file = "-"] = args;
    const policy = string.parse(await readValue(file === "-" ? "-" : `@${file.replace(/^@/, "")}`, io), "policy");
    await client.write(`sys/policies/acl/${name}`, { policy });
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
