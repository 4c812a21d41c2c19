// `coffer version`. The number is package.json's; the bundle has it inlined by the JSON import.
import manifest from "../../../package.json" with { type: "json" };
import type { Command } from "../command.ts";

export const version: Command = {
  name: "version",
  summary: "Prints the version.",
  help: "Usage: coffer version\n\nPrints the version.\n",
  async run(_argv, io) {
    io.stdout.write(`Coffer v${manifest.version}\n`);
    return 0;
  },
};
