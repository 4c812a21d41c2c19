// A configuration file of the agent, HCL or JSON, typed and checked. What settings there are is stanzas.ts; this file
// says what must go together. It reads no other file: templates' sources are names here.
import { constants } from "node:os";
import { CofferError } from "#common/errors.ts";
import { type ConfigValues, readFields } from "#common/hcl/config-fields.ts";
import { parseHcl } from "#common/hcl/parser.ts";
import { blocksOf, type HclObject, hclError, keyOf, type Position } from "#common/hcl/syntax-tree.ts";
import { type AutoAuth, readAutoAuth } from "./auto-auth.ts";
import { oneBlock } from "./loose-blocks.ts";
import { type ProxyStanzas, readProxy } from "./proxy-stanzas.ts";
import {
  ENV_TEMPLATE_FIELDS,
  EXEC_FIELDS,
  RETRY_FIELDS,
  STANZAS,
  TELEMETRY_FIELDS,
  TEMPLATE_CONFIG_FIELDS,
  TOP_FIELDS,
  VAULT_FIELDS,
} from "./stanzas.ts";
import { readTemplate, type TemplateStanza, templateText } from "./template-stanza.ts";

export interface EnvTemplate {
  readonly name: string;
  readonly template: Pick<TemplateStanza, "contents" | "source" | "left" | "right" | "errorOnMissingKey">;
}

export interface AgentFile {
  readonly top: ConfigValues<typeof TOP_FIELDS>;
  readonly vault: ConfigValues<typeof VAULT_FIELDS>;
  /** Further attempts of a call. */
  readonly retries: number;
  readonly autoAuth: AutoAuth | undefined;
  readonly templates: readonly TemplateStanza[];
  readonly templateConfig: ConfigValues<typeof TEMPLATE_CONFIG_FIELDS>;
  /** Share of a lease. */
  readonly renewAt: number;
  readonly envTemplates: readonly EnvTemplate[];
  readonly exec: ConfigValues<typeof EXEC_FIELDS> | undefined;
  readonly proxy: ProxyStanzas;
  /** One sentence for each setting that is accepted and has no effect. */
  readonly warnings: readonly string[];
}

export interface NamedText {
  /** For messages. */
  readonly name: string;
  readonly text: string;
}

/** A pod or machine with more is several agents'. */
export const TEMPLATES_MAX = 256;
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Reads one configuration from its files. Throws `invalid_request` naming the file, the position and the setting. */
export function parseAgentFile(files: readonly NamedText[]): AgentFile {
  const document = join(files);
  const warnings: string[] = [];
  const alsoKnown = STANZAS.map(({ name }) => name);
  const top = readFields(document, TOP_FIELDS, { where: "the configuration", alsoKnown, warnings });
  const vault = oneBlock(document, "vault");
  const retry = vault && oneBlock(vault.body, "retry");
  const templateConfig = single(document, "template_config", TEMPLATE_CONFIG_FIELDS, warnings);
  single(document, "telemetry", TELEMETRY_FIELDS, warnings);
  const exec = oneBlock(document, "exec");
  const file: AgentFile = {
    top,
    vault: readFields(vault?.body ?? EMPTY, VAULT_FIELDS, { where: "vault", alsoKnown: ["retry"], warnings }),
    retries: Math.max(0, readFields(retry?.body ?? EMPTY, RETRY_FIELDS, { where: "retry", warnings }).num_retries),
    autoAuth: readAutoAuth(document, warnings),
    templates: blocksOf(document, "template", 0).map((block) => readTemplate(block, warnings)),
    templateConfig,
    renewAt: templateConfig.lease_renewal_threshold,
    envTemplates: readEnvTemplates(document, warnings),
    exec: exec && readFields(exec.body, EXEC_FIELDS, { where: "exec", warnings }),
    proxy: readProxy(document, warnings),
    warnings,
  };
  check(file, exec?.position);
  return file;
}

const START: Position = { line: 1, column: 1 };
const EMPTY: HclObject = { kind: "object", items: [], position: START };

/** Stanzas of all files together; of a single setting what the last file says. */
function join(files: readonly NamedText[]): HclObject {
  const documents = files.map(({ name, text }) => parseHcl(text, name));
  const last = new Map(documents.flatMap(({ items }, at) => items.map((item) => [keyOf(item).text, at] as const)));
  const items = documents.flatMap((document, at) =>
    document.items.filter((item) => {
      const { text } = keyOf(item);
      return !Object.hasOwn(TOP_FIELDS, text) || last.get(text) === at;
    }),
  );
  return { kind: "object", items, position: START };
}

function single<F extends Parameters<typeof readFields>[1]>(
  document: HclObject,
  name: string,
  fields: F,
  warnings: string[],
): ConfigValues<F> {
  const block = oneBlock(document, name);
  return readFields(block?.body ?? EMPTY, fields, { where: name, warnings });
}

function readEnvTemplates(document: HclObject, warnings: string[]): readonly EnvTemplate[] {
  const found: EnvTemplate[] = [];
  for (const { labels, body, position } of blocksOf(document, "env_template", 1)) {
    const name = labels[0]?.text ?? "";
    if (!VARIABLE_NAME.test(name)) throw hclError(position, `env_template: "${name}" is no name of a variable`);
    if (found.some((other) => other.name === name)) throw hclError(position, `there are two env_template "${name}"`);
    const values = readFields(body, ENV_TEMPLATE_FIELDS, { where: `env_template "${name}"`, warnings });
    found.push({ name, template: templateText(values, `env_template "${name}"`, position) });
  }
  return found;
}

function check(file: AgentFile, execPosition: Position | undefined): void {
  const { autoAuth, templates, envTemplates, exec, vault } = file;
  const wrong = (message: string) => new CofferError("invalid_request", message);
  if ((vault.client_cert === undefined) !== (vault.client_key === undefined))
    throw wrong("vault: client_cert and client_key go together; give both or none");
  if (templates.length + envTemplates.length > TEMPLATES_MAX)
    throw wrong(`there are more than ${TEMPLATES_MAX} templates`);
  const isRendering = templates.length + envTemplates.length > 0;
  if (isRendering && autoAuth === undefined) throw wrong("templates need a token: write an auto_auth stanza");
  if (isRendering && autoAuth?.wrapTtlSeconds !== undefined)
    throw wrong("auto_auth: method has wrap_ttl, so the agent has no token for templates: use wrap_ttl of a sink");
  if (file.proxy.listeners.length > 0 && autoAuth?.wrapTtlSeconds !== undefined)
    throw wrong("auto_auth: method has wrap_ttl, so the agent has no token for listeners: use wrap_ttl of a sink");
  if (envTemplates.length > 0 && exec === undefined)
    throw wrong("env_template makes variables of a program: write an exec stanza, or use `coffer exec -- COMMAND`");
  if (exec !== undefined && !Object.hasOwn(constants.signals, exec.restart_stop_signal))
    throw hclError(
      execPosition ?? START,
      `exec: there is no signal "${exec.restart_stop_signal}"; write it as SIGTERM`,
    );
}
