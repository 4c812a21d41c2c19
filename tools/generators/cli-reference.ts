// The page of the command line, from each command's own help.
import { registry } from "#cli/registry.ts";
import { SERVER_HELP } from "#server/flags.ts";
import type { Generator } from "./generator.ts";
import { pageHead } from "./markdown.ts";

const INTRODUCTION = `\`coffer\` is the client of any server that speaks the Vault v1 API, and starts Coffer's own programs. It reads \`COFFER_*\`, \`VAULT_*\` and \`BAO_*\` variables in this order. Exit codes are Vault's: 0 for success, 1 for wrong usage, 2 for an error of the server.

`;

const SHARED_FLAGS = "\nFlags of every command:\n";

const block = (text: string) => `\`\`\`text\n${text.trim()}\n\`\`\`\n`;

async function page(): Promise<string> {
  const commands = await Promise.all(registry.map(({ load }) => load()));
  const sections = commands.map(({ name, help }) => {
    // The flags that all commands share are shown once, at the end.
    const [own = ""] = (name === "server" ? SERVER_HELP : help).split(SHARED_FLAGS);
    return `## coffer ${name}\n\n${block(own)}`;
  });
  const shared = commands.map(({ help }) => help.split(SHARED_FLAGS)[1]).find((text) => text !== undefined) ?? "";
  const last = `## Flags of every command that talks to a server\n\n\`\`\`text\n${shared.trimEnd()}\n\`\`\`\n`;
  return `${pageHead("Command line", "src/cli/commands")}${INTRODUCTION}${[...sections, last].join("\n")}`;
}

export const cliReferenceGenerator: Generator = {
  name: "cli-reference",
  files: async () => new Map([["docs/reference/cli.md", await page()]]),
};
