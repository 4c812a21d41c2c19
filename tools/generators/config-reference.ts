// The page of the server's configuration file, from the tables that its parser reads and the registries of storages, seals and
// audit devices.
import { COMMON_OPTIONS } from "#server/audit/device-options.ts";
import { auditRegistry } from "#server/audit/registry.ts";
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

function auditDevices(): string {
  const rows = (options: Readonly<Record<string, string>>) =>
    Object.entries(options).map(([name, meaning]) => [`\`${name}\``, meaning]);
  const head = ["Option", "Meaning"];
  const kinds = auditRegistry.map(({ type, options }) => `### Audit device ${type}\n\n${table(head, rows(options))}`);
  return `## Audit devices\n\nOptions of every device, here and in \`sys/audit\`; any other is refused. How to use them: [Audit](../guides/audit.md).\n\n${table(head, rows(COMMON_OPTIONS))}\n${kinds.join("\n")}`;
}

export const configReferenceGenerator: Generator = {
  name: "config-reference",
  files() {
    const head = pageHead("Configuration of the server", "src/server/config/config-schema.ts");
    const page = `${head}${INTRODUCTION}${configReference().trimEnd()}\n\n${storages()}\n${seals()}\n${auditDevices()}`;
    return new Map([["docs/reference/configuration.md", page]]);
  },
};
