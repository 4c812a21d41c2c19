// The long-running programs. Each is loaded only when it is asked for, so that an agent's memory holds no server.
import type { Command } from "../command.ts";
import type { ProgramModule } from "../program.ts";

function program(name: string, summary: string): Command {
  const help = `Usage: coffer ${name} [flags]\n\n${summary}\n`;
  return { name, summary, help, run: async (argv, io) => (await loadProgram(name)).run(argv, io) };
}

/** Relative, because a bundler takes in the programs of such a pattern, which it cannot do for a name with "#". */
function loadProgram(area: string): Promise<ProgramModule> {
  return import(`../../${area}/main.ts`);
}

export const server = program("server", "Runs a server.");
export const operator = program("operator", "Runs the Kubernetes operator.");
export const injector = program("injector", "Runs the admission webhook that injects secrets into pods.");
export const agent = program(
  "agent",
  "Logs in, renders secrets and keeps them fresh: in a pod as injected, elsewhere as -config says.",
);
