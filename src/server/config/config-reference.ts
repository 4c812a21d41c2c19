// The reference page of the configuration file, as Markdown, made from the tables that the parser reads.
import type { ConfigFields } from "#common/hcl/config-fields.ts";
import { REQUEST_STANZA, STANZAS, type StanzaDescription, TOP_FIELDS } from "./config-schema.ts";

/** Markdown of all settings and stanzas. */
export function configReference(): string {
  const top = `## Single settings\n\n${tableOf(TOP_FIELDS)}`;
  return [top, ...[...STANZAS, REQUEST_STANZA].map(stanzaSection)].join("\n");
}

function stanzaSection(stanza: StanzaDescription): string {
  const head = [stanza.name, ...stanza.labels.map((label) => `"<${label}>"`)].join(" ");
  const rest = stanza.open ? "Further members belong to the type.\n\n" : "";
  const table = Object.keys(stanza.fields).length === 0 ? "" : tableOf(stanza.fields);
  return `## \`${head} { … }\`\n\n${stanza.doc}\n\n${rest}${table}`;
}

function tableOf(fields: ConfigFields): string {
  const rows = Object.entries(fields).map(([name, field]) =>
    field.ignored === undefined
      ? `| \`${name}\` | ${field.kind} | ${fallbackText(field.fallback)} | ${field.doc} |`
      : `| \`${name}\` | | | No effect: ${field.ignored}. |`,
  );
  return `| Setting | Value | Default | |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n`;
}

function fallbackText(fallback: unknown): string {
  const empty = fallback === undefined || fallback === "" || (typeof fallback === "object" && fallback !== null);
  return empty ? "" : `\`${String(fallback)}\``;
}
