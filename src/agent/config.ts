// The agent's configuration: the document of the injector, checked beyond its shape. References between its parts must
// hold, so that a mistake is one clear line at start, not a surprise at the first rotation.
import { constants } from "node:os";
import { AGENT_CONFIG_VARIABLE, type AgentConfig, agentConfigSchema, type ChangeHook } from "#common/agent-config.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { hostAndPort, isLoopback } from "./proxy/listen-address.ts";

export type SourceConfig = AgentConfig["sources"][number];
export type FileConfig = AgentConfig["files"][number];
export type EnvironmentConfig = AgentConfig["environments"][number];

/** Kubernetes' own pattern for names of environment variables, without the characters that files of KEY=value break on. */
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
/** Owner, group and others, octal; no set-uid bits on files of secrets. */
const FILE_MODE = /^0?[0-7]{3}$/;
/** More often than this burdens the server for nothing. */
const REFRESH_SECONDS_MIN = 1;

/** Reads the document out of the environment. Throws `invalid_request` naming the member that is wrong. */
export function readAgentConfig(env: Readonly<Record<string, string | undefined>>): AgentConfig {
  const text = env[AGENT_CONFIG_VARIABLE];
  if (text === undefined || text === "") {
    throw new CofferError("invalid_request", `${AGENT_CONFIG_VARIABLE} is not set; the injector sets it`);
  }
  const config = parseDocument(text);
  checkServer(config);
  checkSources(config);
  checkFiles(config);
  checkEnvironments(config);
  checkListeners(config);
  if (config.refreshIntervalSeconds < REFRESH_SECONDS_MIN) {
    throw wrong(`refreshIntervalSeconds must be at least ${REFRESH_SECONDS_MIN}`);
  }
  if (config.jitterPercent < 0 || config.jitterPercent > 100) throw wrong("jitterPercent must be between 0 and 100");
  return config;
}

/** The permission bits of a file: "0440" is 0o440. */
export function fileMode(mode: string): number {
  if (!FILE_MODE.test(mode)) throw wrong(`the file mode "${mode}" must be octal, as "0440"`);
  return Number.parseInt(mode, 8);
}

function parseDocument(text: string): AgentConfig {
  try {
    return agentConfigSchema.parse(parseJson(text));
  } catch (cause) {
    throw wrong(messageOf(cause));
  }
}

function checkSources({ sources }: AgentConfig): void {
  const names = new Set<string>();
  for (const { name } of sources) {
    if (names.has(name)) throw wrong(`there are two sources named "${name}"`);
    names.add(name);
  }
}

function checkFiles(config: AgentConfig): void {
  for (const file of config.files) {
    if (file.format === "Template") checkTemplate(config, file);
    else requireSource(config, file.source, `the file ${file.path}`);
    requireAbsolute(file.path);
    fileMode(file.mode);
    if ((file.format === "Raw" || file.format === "Line") && file.key === undefined) {
      throw wrong(`the file ${file.path} is ${file.format} and needs a key`);
    }
    if (file.format === "PKCS12" || file.format === "JKS") checkKeystore(config, file);
    if (file.onChange !== undefined) checkHook(file.onChange, file.path);
  }
}

function checkKeystore(config: AgentConfig, { path, format, keystore }: FileConfig): void {
  if (keystore === undefined) throw wrong(`the file ${path} is ${format} and needs a keystore`);
  const { source } = keystore.password;
  if (source !== undefined) requireSource(config, source, `the password of ${path}`);
}

function checkTemplate(config: AgentConfig, { path, source, template }: FileConfig): void {
  if (template === undefined) throw wrong(`the file ${path} is Template and needs a template`);
  const named = Object.values(template.sources);
  for (const name of source === "" ? named : [source, ...named]) requireSource(config, name, `the template of ${path}`);
}

function checkHook({ signal, process: name, http }: ChangeHook, path: string): void {
  if (http !== undefined && !URL.canParse(http)) throw wrong(`the file ${path} has a wrong URL in onChange.http`);
  if ((signal === undefined) !== (name === undefined)) {
    throw wrong(`the file ${path} has only one of onChange.signal and onChange.process, which go together`);
  }
  if (signal === undefined || Object.hasOwn(constants.signals, signal)) return;
  throw wrong(`the file ${path} wants the signal "${signal}", which there is not; write it as SIGHUP`);
}

function checkServer({ timeoutSeconds = 1, retries = 0, replaceLeaseAt = 0.5, tls = {} }: AgentConfig): void {
  if (timeoutSeconds <= 0) throw wrong("timeoutSeconds must be more than 0");
  if (!Number.isInteger(retries) || retries < 0) throw wrong("retries must be a whole number, 0 or more");
  if (replaceLeaseAt <= 0 || replaceLeaseAt >= 1) throw wrong("replaceLeaseAt must be between 0 and 1");
  if ((tls.certificateFile === undefined) !== (tls.keyFile === undefined)) {
    throw wrong("tls.certificateFile and tls.keyFile go together");
  }
}

function checkEnvironments(config: AgentConfig): void {
  for (const environment of config.environments) {
    requireAbsolute(environment.path);
    const names = new Set<string>();
    for (const { name, source } of environment.variables) {
      requireSource(config, source, `the variable ${name}`);
      if (!VARIABLE_NAME.test(name)) throw wrong(`"${name}" is no name of an environment variable`);
      if (names.has(name)) throw wrong(`the variable ${name} is there twice`);
      names.add(name);
    }
  }
}

function checkListeners({ listeners = [] }: AgentConfig): void {
  for (const { type, address, remote, socketMode } of listeners) {
    if (type === "unix") {
      requireAbsolute(address);
      if (socketMode !== undefined) fileMode(socketMode);
    } else if (!isLoopback(hostAndPort(address).host) && remote !== true) {
      throw wrong(`the listener ${address} can be reached from other machines; use 127.0.0.1, or set remote to true`);
    }
  }
}

function requireSource({ sources }: AgentConfig, name: string, user: string): void {
  if (!sources.some((source) => source.name === name)) throw wrong(`${user} wants the unknown source "${name}"`);
}

function requireAbsolute(path: string): void {
  if (!path.startsWith("/") || path.split("/").includes("..")) {
    throw wrong(`the path "${path}" must be absolute and have no ".."`);
  }
}

function wrong(message: string): CofferError {
  return new CofferError("invalid_request", `${AGENT_CONFIG_VARIABLE}: ${message}`);
}
