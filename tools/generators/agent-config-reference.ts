// The page of the agent's configuration file, from the tables that its parser reads and the registry of auto-auth methods.
import { authMethods } from "#agent/auth/registry.ts";
import { type AgentStanza, STANZAS, TOP_FIELDS } from "#agent/file-config/stanzas.ts";
import type { ConfigFields } from "#common/hcl/config-fields.ts";
import type { Generator } from "./generator.ts";
import { pageHead, table } from "./markdown.ts";

const INTRODUCTION = `\`coffer agent -config=FILE\` and \`coffer exec -config=FILE\` take HCL or JSON in the shape of \`vault agent\`. How to use it: [The agent outside of Kubernetes](../guides/agent.md).

`;

function rowsOf(fields: ConfigFields): string[][] {
  return Object.entries(fields).map(([name, { kind, fallback, doc, ignored }]) =>
    ignored === undefined
      ? [`\`${name}\``, kind, fallbackText(fallback), doc]
      : [`\`${name}\``, "", "", `No effect: ${ignored}.`],
  );
}

function fallbackText(fallback: unknown): string {
  const isEmpty = fallback === undefined || fallback === "" || (typeof fallback === "object" && fallback !== null);
  return isEmpty ? "" : `\`${String(fallback)}\``;
}

function tableOf(fields: ConfigFields): string {
  return Object.keys(fields).length === 0 ? "" : `\n${table(["Setting", "Value", "Default", ""], rowsOf(fields))}`;
}

function section({ name, labels, doc, fields, blocks = [] }: AgentStanza, within = ""): string {
  const head = [name, ...labels.map((label) => `"<${label}>"`)].join(" ");
  const title = within === "" ? `## \`${head} { … }\`` : `### \`${head} { … }\` in ${within}`;
  return [`${title}\n\n${doc}\n${tableOf(fields)}`, ...blocks.map((block) => section(block, name))].join("\n");
}

function methods(): string {
  const each = authMethods.map(({ type, doc, fields }) => `### \`${type}\`\n\n${doc}\n${tableOf(fields)}`);
  return `## \`config\` of each auto-auth method\n\n${each.join("\n")}`;
}

export const agentConfigReferenceGenerator: Generator = {
  name: "agent-config-reference",
  files() {
    const head = pageHead("Configuration of the agent", "src/agent/file-config/stanzas.ts");
    const parts = [
      `## Single settings\n${tableOf(TOP_FIELDS)}`,
      ...STANZAS.map((stanza) => section(stanza)),
      methods(),
    ];
    return new Map([
      ["docs/reference/agent-configuration.md", `${head}${INTRODUCTION}${parts.join("\n").trimEnd()}\n`],
    ]);
  },
};
