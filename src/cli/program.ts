// Finds the command that the words name, runs it, and turns what it throws into a line for people and an exit code:
// 0 done, 1 usage or local, 2 the server said no or cannot be reached. Knows no command by itself.
import { ApiError } from "#client/api-error.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { ProgramRun } from "#common/program.ts";
import type { CliIo } from "./cli-io.ts";
import type { Command } from "./command.ts";
import { nextStep } from "./hints.ts";

/** A line of the registry. The command's own file is loaded only when it runs or is described. */
export interface RegistryEntry {
  readonly name: string;
  readonly load: () => Promise<Command>;
}

/** What the main.ts of a long-running program exports. */
export interface ProgramModule {
  readonly run: ProgramRun;
}

/** Commands have at most this many words ("kv metadata get"). */
const WORDS_MAX = 3;

/** Runs the command line behind the program's name; gives the exit code. Never rejects. */
export async function runCli(argv: readonly string[], registry: readonly RegistryEntry[], io: CliIo): Promise<number> {
  try {
    const found = findEntry(argv, registry);
    if (found === undefined) return await explain(argv, registry, io);
    const command = await found.entry.load();
    if (!isProgram(found.entry) && found.rest.some((word) => /^--?(h|help)$/.test(word))) {
      io.stdout.write(command.help);
      return 0;
    }
    return await command.run(found.rest, io);
  } catch (error) {
    return report(error, io);
  }
}

/** Programs read their arguments themselves. */
function isProgram({ name }: RegistryEntry): boolean {
  return ["server", "operator", "injector", "agent"].includes(name);
}

function findEntry(argv: readonly string[], registry: readonly RegistryEntry[]) {
  for (let words = WORDS_MAX; words > 0; words--) {
    const name = argv.slice(0, words).join(" ");
    const entry = registry.find((candidate) => candidate.name === name);
    const rest = argv.slice(words);
    // "operator" alone, or with flags, is a program; "operator frobnicate" is a mistake in its subcommand.
    const isGroup = registry.some((candidate) => candidate.name.startsWith(`${name} `));
    const isMistake = isGroup && rest[0] !== undefined && !rest[0].startsWith("-");
    if (entry !== undefined && argv.length >= words && !isMistake) return { entry, rest };
  }
  return undefined;
}

/** Help for everything, for a group of commands, or for a word that is none. */
async function explain(argv: readonly string[], registry: readonly RegistryEntry[], io: CliIo): Promise<number> {
  const words = argv.filter((word) => !word.startsWith("-"));
  if (argv.some((word) => /^--?(v|version)$/.test(word)) && words.length === 0) {
    const version = registry.find(({ name }) => name === "version");
    if (version !== undefined) return (await version.load()).run([], io);
  }
  const wantsHelp = words[0] === "help" || argv.some((word) => /^--?(h|help)$/.test(word)) || argv.length === 0;
  const topic = words.filter((word, index) => index > 0 || word !== "help").join(" ");
  const exact = registry.find(({ name }) => name === topic);
  if (wantsHelp && exact !== undefined) {
    io.stdout.write((await exact.load()).help);
    return 0;
  }
  const group = registry.filter(({ name }) => name.startsWith(`${topic} `));
  if (topic !== "" && group.length === 0) {
    const first = words[0] ?? "";
    const siblings = registry.filter(({ name }) => name.startsWith(`${first} `));
    io.stderr.write(`coffer: there is no command "${topic}"\n`);
    if (siblings.length > 0) io.stderr.write(await listing(siblings));
    else io.stderr.write("See `coffer help`.\n");
    return 1;
  }
  const output = wantsHelp ? io.stdout : io.stderr;
  output.write(`Usage: coffer ${topic === "" ? "<command>" : `${topic} <command>`} [flags] [arguments]\n\n`);
  output.write(await listing(topic === "" ? registry : group));
  return wantsHelp ? 0 : 1;
}

async function listing(entries: readonly RegistryEntry[]): Promise<string> {
  const commands = await Promise.all(entries.map(({ load }) => load()));
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`);
  return `Commands:\n${lines.join("")}\nEach has more to say: coffer <command> -help\n`;
}

function report(error: unknown, io: CliIo): number {
  const isKnown = error instanceof ApiError || error instanceof CofferError;
  io.stderr.write(`Error: ${isKnown ? error.message : `unexpected failure: ${messageOf(error)}`}\n`);
  const hint = nextStep(error);
  if (hint !== undefined) io.stderr.write(`${hint}\n`);
  return error instanceof ApiError ? 2 : 1;
}
