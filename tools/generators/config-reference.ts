// The page of the server's configuration file, from the tables that its parser reads and the registries of storages and seals.
import { configReference } from "#server/config/config-reference.ts";
import { sealTypes } from "#server/seal/registry.ts";
import { storageRegistry } from "#server/storage/registry.ts";
import type { Generator } from "./generator.ts";
import { pageHead, table } from "./markdown.ts";

const INTRODUCTION = `\`coffer server -config=FILE\` takes HCL or JSON; \`-config\` may be given several times. The shape is that of Vault's file, so that an existing one mostly works: an unknown setting or stanza is an error that names it, and settings that have no effect here are accepted and listed below with the reason.

`;

const SHARED_BY = {
  none: "one process",
  processes: "the processes of one machine",
  machines: "any number of machines",
};

function storages(): string {
  const rows = storageRegistry.map(({ type, aliases, doc, sharing, durable }) => [
    `\`${type}\``,
    aliases.map((alias) => `\`${alias}\``).join(", "),
    SHARED_BY[sharing],
    durable ? "yes" : "no",
    doc,
  ]);
  return `## Storage types\n\n${table(["Type", "Also", "Shared by", "Durable", ""], rows)}`;
}

function seals(): string {
  return `## Seal types\n\n${sealTypes.map(({ type }) => `\`${type}\``).join(", ")}.\n`;
}

export const configReferenceGenerator: Generator = {
  name: "config-reference",
  files() {
    const head = pageHead("Configuration of the server", "src/server/config/config-schema.ts");
    const page = `${head}${INTRODUCTION}${configReference().trimEnd()}\n\n${storages()}\n${seals()}`;
    return new Map([["docs/reference/configuration.md", page]]);
  },
};
