// The agent program: `coffer agent`, in a container that the injector adds to a pod. Builds the parts and runs them.
// `coffer agent -check-ready` tells by its exit code whether the ready file is there (the image's static helper does
// the same for a probe at a hundredth of the cost: `helper ready FILE`).
import { existsSync, readFileSync } from "node:fs";
import { createApiClient } from "#client/api-client.ts";
import type { TlsOptions } from "#client/transport.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog } from "#common/log.ts";
import type { ProgramIo, ProgramRun } from "#common/program.ts";
import { runAgent } from "./agent.ts";
import { readAgentConfig } from "./config.ts";

/** A pod's secrets are small; an answer beyond this is a mistake that must not cost the pod its memory. */
const RESPONSE_BYTES_MAX = 8 * 1024 * 1024;
/** Shorter than a person's patience with a pod that does not start. */
const TIMEOUT_SECONDS = 15;
const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** What the function `env` of templates shows, where the container has it: names of the pod's place, never a secret. */
const TEMPLATE_VARIABLES = [
  "HOSTNAME",
  "POD_NAME",
  "POD_NAMESPACE",
  "POD_IP",
  "POD_UID",
  "NODE_NAME",
  "SERVICE_ACCOUNT",
];

/** Runs the agent. Exit codes: 0 done, 1 wrong configuration (or not ready, with -check-ready). */
export const run: ProgramRun = async (argv, io) => {
  const [flag, ...rest] = argv.map((argument) => argument.replace(/^--/, "-"));
  if (rest.length > 0 || (flag !== undefined && flag !== "-check-ready")) {
    io.stderr.write("coffer agent: takes no arguments but -check-ready; its configuration comes from the injector\n");
    return 1;
  }
  try {
    const config = readAgentConfig(io.env);
    if (flag === "-check-ready") return existsSync(config.readyFile) ? 0 : 1;
    return await runFrom(config, io);
  } catch (error) {
    io.stderr.write(`coffer agent: ${messageOf(error)}\n`);
    return 1;
  }
};

async function runFrom(config: AgentConfig, io: ProgramIo): Promise<number> {
  const log = createLog({
    level: LOG_LEVELS.find((level) => level === io.env["COFFER_LOG_LEVEL"]) ?? "info",
    format: io.env["COFFER_LOG_FORMAT"] === "text" ? "text" : "json",
    write: (line) => io.stderr.write(line),
    now: () => io.clock.now(),
    fields: config.labels,
  });
  const tls: TlsOptions = {
    ca: () => readCa(config.caFile),
    skipVerify: config.tls?.skipVerify,
    serverName: config.tls?.serverName,
    clientCertificate: clientCertificateOf(config),
  };
  using client = createApiClient({
    ...tls,
    address: config.address,
    namespace: config.namespace,
    timeoutMillis: (config.timeoutSeconds ?? TIMEOUT_SECONDS) * 1000,
    retries: config.retries,
    responseBytesMax: RESPONSE_BYTES_MAX,
    userAgent: "coffer-agent",
    clock: io.clock,
  });
  const variables = Object.fromEntries(TEMPLATE_VARIABLES.map((name) => [name, io.env[name] ?? ""]));
  await runAgent({ config, client, clock: io.clock, log, signal: io.signal, variables, tls });
  return 0;
}

/** Read once: an agent whose certificate ends is one that is started anew. */
function clientCertificateOf({ tls }: AgentConfig): { cert: Buffer; key: Buffer } | undefined {
  if (tls?.certificateFile === undefined || tls.keyFile === undefined) return undefined;
  try {
    return { cert: readFileSync(tls.certificateFile), key: readFileSync(tls.keyFile) };
  } catch (cause) {
    throw new CofferError("unavailable", `cannot read the client certificate: ${messageOf(cause)}`, { cause });
  }
}

/** Read at each call: the bundle rotates while the agent runs, and may not be there yet when it starts. */
function readCa(file: string | undefined): Buffer | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CofferError("unavailable", `cannot read the CA file: ${messageOf(cause)}`, { cause });
  }
}
