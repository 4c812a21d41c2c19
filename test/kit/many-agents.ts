// The agents of many pods in one process, as a driver on each node would run them: each with a login, sources and files
// of its own, over the connections of one client. A program of its own, so that its memory is theirs alone.
//
//   node many-agents.ts ADDRESS FOLDER COUNT [DOCUMENT]
//
// Reads FOLDER/<n>/token, writes FOLDER/<n>/out.json. DOCUMENT is JSON that is merged into every configuration, with
// "%n" for the number. Says "ready" when all are, and answers every line of its input with its memory and its sums.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { runAgent } from "#agent/agent.ts";
import { readAgentConfig } from "#agent/config.ts";
import { createApiClient } from "#client/api-client.ts";
import { AGENT_CONFIG_VARIABLE } from "#common/agent-config.ts";
import { systemClock } from "#common/clock.ts";
import { createLog } from "#common/log.ts";

const MIB = 1024 * 1024;
const [address = "", folder = "", count = "0", document = "{}"] = process.argv.slice(2);

function configOf(n: number) {
  const own = join(folder, String(n));
  mkdirSync(own, { recursive: true });
  const change: unknown = JSON.parse(document.replaceAll("%n", String(n)));
  const config = {
    address,
    auth: { mount: "kubernetes", role: "web", tokenFile: join(own, "token") },
    sources: [{ name: "own", path: `secret/pods/${n}` }],
    files: [{ path: join(own, "out.json"), source: "own", format: "JSON" }],
    ...{ mode: "Sidecar", refreshIntervalSeconds: 300, readyFile: join(own, "ready") },
    ...(typeof change === "object" ? change : {}),
  };
  return readAgentConfig({ [AGENT_CONFIG_VARIABLE]: JSON.stringify(config) });
}

const sums = { ready: 0, logins: 0, written: 0, refreshed: 0, live: 0 };
const COUNTED: Readonly<Record<string, keyof typeof sums>> = {
  ready: "ready",
  "logged in": "logins",
  wrote: "written",
  refreshed: "refreshed",
  "changes are told by the server": "live",
};

const end = new AbortController();
process.once("SIGTERM", () => end.abort());
const client = createApiClient({ address, clock: systemClock, userAgent: "coffer-agent", timeoutMillis: 15_000 });
const log = createLog({
  ...{ level: "info", format: "json", now: () => systemClock.now() },
  write(line) {
    const { message, level, ...rest } = JSON.parse(line);
    const counted = COUNTED[message];
    if (counted !== undefined) sums[counted]++;
    if (level === "warn") process.stderr.write(`${JSON.stringify({ message, ...rest })}\n`);
    if (message === "ready" && sums.ready === Number(count)) process.stdout.write("ready\n");
  },
});

const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  const { user, system } = process.cpuUsage();
  const rssMiB = Math.round((process.memoryUsage.rss() / MIB) * 10) / 10;
  process.stdout.write(`${JSON.stringify({ rssMiB, cpuMillis: Math.round((user + system) / 1000), ...sums })}\n`);
});
const agents = Array.from({ length: Number(count) }, (_, n) =>
  runAgent({ config: configOf(n), client, clock: systemClock, log, signal: end.signal, variables: {} }),
);
await Promise.all(agents);
client.close();
lines.close();
