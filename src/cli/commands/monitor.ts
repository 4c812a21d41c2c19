// `monitor`: the server's log, line by line, until it is interrupted or the server ends it.
import { defineCommand } from "../command.ts";

export const monitor = defineCommand({
  name: "monitor",
  summary: "Shows the server's log as it is written.",
  usage: "",
  flags: {
    "log-level": { kind: "text", help: "The least severity: debug, info, warn or error; info without." },
    "log-format": { kind: "text", help: "standard for people, json for machines; standard without." },
  },
  examples: ["monitor", "monitor -log-level=debug -log-format=json"],
  args: [0, 0],
  async run({ client, flags, io }) {
    const query = { log_level: flags["log-level"], log_format: flags["log-format"] };
    for await (const line of client.lines("sys/monitor", { query, signal: io.signal })) io.stdout.write(`${line}\n`);
    return 0;
  },
});
