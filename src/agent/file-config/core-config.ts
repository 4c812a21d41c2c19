// A configuration file as the document that the agent's core knows. Names become absolute paths and numbers here, and the
// templates' files are read.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { AgentConfig, ChangeHook } from "#common/agent-config.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { variablePath } from "../exec/variables.ts";
import { TEMPLATE_BYTES_MAX } from "../template/limits.ts";
import { groupNumber, userNumber } from "./account-numbers.ts";
import type { AgentFile, EnvTemplate } from "./agent-file.ts";
import { placedListeners } from "./proxy-stanzas.ts";
import type { TemplateStanza } from "./template-stanza.ts";

/** A tenth, as the injector has it: agents that started together should not go on together. */
const JITTER_PERCENT = 10;
type File = AgentConfig["files"][number];

/** Throws `invalid_request` or `unavailable` naming the file that cannot be read or the user that there is not. */
export async function coreConfig(file: AgentFile, address: string, cwd: string): Promise<AgentConfig> {
  const { top, autoAuth, templateConfig, vault, retries } = file;
  const files = await Promise.all([
    ...file.templates.map((template) => templateFile(template, cwd)),
    ...file.envTemplates.map((each) => variableFile(each, cwd)),
  ]);
  return {
    address,
    ...{ namespace: vault.namespace, retries },
    auth: { mount: autoAuth?.mountPath ?? "", role: "", tokenFile: "" },
    ...{ sources: [], files, environments: [] },
    mode: top.exit_after_auth ? "Init" : "Sidecar",
    refreshIntervalSeconds: Math.max(1, templateConfig.static_secret_render_interval),
    jitterPercent: JITTER_PERCENT,
    replaceLeaseAt: file.renewAt,
    // After exit_after_auth the token in the sinks is somebody's.
    revokeOnExit: top.revoke_on_exit && !top.exit_after_auth,
    readyFile: top.ready_file === undefined ? "" : resolve(cwd, top.ready_file),
    ...(top.max_stale === 0 ? {} : { maxStaleSeconds: top.max_stale }),
    events: top.events,
    ...{ ...file.proxy, listeners: placedListeners(file.proxy.listeners, cwd) },
    labels: {},
  };
}

async function templateFile(stanza: TemplateStanza, cwd: string): Promise<File> {
  return {
    path: resolve(cwd, stanza.destination),
    ...(await templatePart(stanza, cwd)),
    mode: stanza.mode,
    owner: stanza.user === undefined ? undefined : await userNumber(stanza.user),
    group: stanza.group === undefined ? undefined : await groupNumber(stanza.group),
    backup: stanza.backup,
    createDirectories: stanza.createDirectories,
    onChange: hookOf(stanza),
  };
}

async function variableFile({ name, template }: EnvTemplate, cwd: string): Promise<File> {
  return { path: variablePath(name), ...(await templatePart(template, cwd)), mode: "0600" };
}

async function templatePart(template: EnvTemplate["template"], cwd: string) {
  const { contents, source = "", left, right, errorOnMissingKey } = template;
  const text = contents ?? (await readTemplate(resolve(cwd, source)));
  const parts = { text, errorOnMissingKey, leftDelimiter: left, rightDelimiter: right, sources: {} };
  return { source: "", format: "Template", template: parts } as const;
}

async function readTemplate(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > TEMPLATE_BYTES_MAX) throw new Error(`it is longer than ${TEMPLATE_BYTES_MAX} bytes`);
    return bytes.toString("utf8");
  } catch (cause) {
    throw new CofferError("invalid_request", `cannot read the template ${path}: ${messageOf(cause)}`, { cause });
  }
}

function hookOf({ hooks }: TemplateStanza): ChangeHook | undefined {
  const { command, commandSeconds, http, httpSeconds, signal } = hooks;
  if (command.length === 0 && http === undefined && signal === undefined) return undefined;
  return {
    ...(command.length === 0 ? {} : { command, commandSeconds }),
    ...(http === undefined ? {} : { http, httpSeconds }),
    ...signal,
  };
}
