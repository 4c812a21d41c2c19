// The agent program: `coffer agent`, in a container that the injector adds to a pod, or with -config anywhere else. Builds
// the parts and runs them.
// `coffer agent -check-ready` tells by its exit code whether the ready file is there (the image's static helper does
// the same for a probe at a hundredth of the cost: `helper ready FILE`).
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createApiClient } from "#client/api-client.ts";
import type { TlsOptions } from "#client/transport.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog } from "#common/log.ts";
import type { ProgramIo, ProgramRun } from "#common/program.ts";
import { runAgent } from "./agent.ts";
import { readAgentConfig } from "./config.ts";
import { type AgentState, fileState } from "./state/agent-state.ts";

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

const HELP = `Usage: coffer agent -config=FILE [-config=FILE…]

Logs in, keeps the token alive, renders templates and runs programs, as the files say. A file is HCL or JSON in the
shape of \`vault agent\`; of a directory all .hcl and .json files are taken. Without -config the configuration is what
the injector has put into the environment.

Flags:
  -config=FILE        Configuration file or directory; may be given several times.
  -exit-after-auth    End once the token is written and everything is rendered.
  -log-level=LEVEL    debug, info, warn or error.
  -log-format=FORMAT  standard or json.
  -log-file=FILE      Write the log there too.
  -check-ready        Tell by the exit code whether the agent of this pod is ready.
`;

/** Runs the agent. Exit codes: 0 done, 1 wrong configuration (or not ready, with -check-ready), else the program's. */
export const run: ProgramRun = async (argv, io) => {
  try {
    if (argv.length > 0) return await runWithFlags(argv, io);
    return await runFrom(readAgentConfig(io.env), io);
  } catch (error) {
    io.stderr.write(`coffer agent: ${messageOf(error)}\n`);
    return 1;
  }
};

async function runWithFlags(argv: readonly string[], io: ProgramIo): Promise<number> {
  const { parseAgentFlags } = await import("./flags.ts");
  const flags = parseAgentFlags(argv);
  if (flags.help) {
    io.stdout.write(HELP);
    return 0;
  }
  if (flags.checkReady) return existsSync(readAgentConfig(io.env).readyFile) ? 0 : 1;
  if (flags.configFiles.length === 0)
    throw new CofferError("invalid_request", "give a configuration with -config=FILE");
  // Agents in pods have no use for it, and its memory is theirs.
  const { runFromFiles } = await import("./file-config/run-from-files.ts");
  return runFromFiles(flags, io);
}

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
  const state = config.mode === "Sidecar" ? await stateOf(config) : undefined;
  await runAgent({ config, client, clock: io.clock, log, signal: io.signal, variables, tls, state, env: io.env });
  return 0;
}

/**
 * So that a container that is started anew goes on with its token and credentials: beside the ready file, which lies in a
 * volume of the agent's own, in memory. Where it does not, nothing is kept.
 */
async function stateOf(config: AgentConfig): Promise<AgentState | undefined> {
  const { address, namespace, auth, sources, files, stateFile } = config;
  const path = stateFile ?? join(dirname(config.readyFile), "agent-state");
  const facts = [address, namespace, auth, sources, files.map(({ template }) => template)];
  const identity = createHash("sha256").update(JSON.stringify(facts)).digest("hex");
  try {
    return await fileState(path, identity);
  } catch (error) {
    if (stateFile !== undefined) throw error;
    return undefined;
  }
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
