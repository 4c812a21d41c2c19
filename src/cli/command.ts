// What a command is: its name, words for help, flags, how many arguments, and what it does. `defineCommand` turns a
// typed definition into something that the registry can hold.
import type { ApiClient } from "#client/api-client.ts";
import { CofferError } from "#common/errors.ts";
import type { CliIo } from "./cli-io.ts";
import { type Flags, type FlagValues, parseFlags } from "./flags.ts";
import { createPrinter, outputFlags, type Printer } from "./output.ts";
import { connect, connectionFlags } from "./settings.ts";

export interface Command {
  /** Words after the program's name: "kv get". */
  readonly name: string;
  readonly summary: string;
  readonly help: string;
  /** Runs with the words behind the name; gives the exit code. */
  run(argv: readonly string[], io: CliIo): Promise<number>;
}

export interface CommandContext<F extends Flags> {
  readonly flags: FlagValues<F>;
  readonly args: readonly string[];
  readonly io: CliIo;
  readonly client: ApiClient;
  readonly print: Printer;
}

export interface RemoteDefinition<F extends Flags> {
  readonly name: string;
  readonly summary: string;
  /** Arguments as they are written in help: "<path> [key=value...]". */
  readonly usage: string;
  readonly examples?: readonly string[];
  readonly flags?: F;
  /** Fewest and most arguments. */
  readonly args: readonly [number, number];
  /** Gives an exit code, or nothing for 0. Throws ApiError (code 2) or CofferError (code 1). */
  run(context: CommandContext<F>): Promise<number | undefined>;
}

const wrapFlag = { "wrap-ttl": { kind: "text", help: "Wrap the answer in a single-use token of this ttl." } } as const;

/** A command that talks to a server. */
export function defineCommand<const F extends Flags = Record<never, never>>(definition: RemoteDefinition<F>): Command {
  const own: Flags = definition.flags ?? {};
  const shared = { ...outputFlags, ...wrapFlag, ...connectionFlags };
  return {
    name: definition.name,
    summary: definition.summary,
    help: helpText(definition, own, shared),
    async run(argv, io) {
      const { flags: all, args } = parseFlags({ ...own, ...shared }, argv);
      assertCount(definition, args);
      // The parser was given the shared flags and the command's own together, so it gave values for both.
      const values = all as FlagValues<typeof shared> & FlagValues<F>;
      using client = await connect(values, io);
      const wrapTtl = values["wrap-ttl"];
      const wrapping = wrapTtl === undefined ? client : withWrapping(client, wrapTtl);
      const print = createPrinter(values, io);
      return (await definition.run({ flags: values, args, io, client: wrapping, print })) ?? 0;
    },
  };
}

export interface LocalDefinition<F extends Flags> extends Omit<RemoteDefinition<F>, "run"> {
  /** Gives an exit code, or nothing for 0. Throws CofferError (code 1). */
  run(context: Omit<CommandContext<F>, "client">): Promise<number | undefined>;
}

/** A command that works on this machine and asks no server. */
export function defineLocalCommand<const F extends Flags = Record<never, never>>(
  definition: LocalDefinition<F>,
): Command {
  const own: Flags = definition.flags ?? {};
  return {
    name: definition.name,
    summary: definition.summary,
    help: helpText(definition, own, outputFlags),
    async run(argv, io) {
      const { flags: all, args } = parseFlags({ ...own, ...outputFlags }, argv);
      assertCount(definition, args);
      // The parser was given the shared flags and the command's own together, so it gave values for both.
      const values = all as FlagValues<typeof outputFlags> & FlagValues<F>;
      return (await definition.run({ flags: values, args, io, print: createPrinter(values, io) })) ?? 0;
    },
  };
}

type Described = Pick<RemoteDefinition<Flags>, "name" | "summary" | "usage" | "examples" | "args">;

function assertCount(definition: Described, args: readonly string[]): void {
  const [fewest, most] = definition.args;
  if (args.length < fewest) throw usageError(definition, "an argument is missing");
  if (args.length > most) throw usageError(definition, `the argument "${args[most]}" is one too many`);
}

/** The same client, asking for wrapped answers of what a command reads or writes. */
function withWrapping(client: ApiClient, wrapTtl: string): ApiClient {
  return {
    ...client,
    read: (path, options = {}) =>
      client.read(path, path.startsWith("sys/internal/") ? options : { ...options, wrapTtl }),
    write: (path, body, options = {}) => client.write(path, body, { ...options, wrapTtl }),
  };
}

function usageError(definition: { name: string; usage: string }, message: string): CofferError {
  return new CofferError(
    "invalid_request",
    `${message}; usage: ${`coffer ${definition.name} [flags] ${definition.usage}`.trimEnd()}`,
  );
}

function helpText(definition: Described, own: Flags, shared: Flags): string {
  const list = (flags: Flags) =>
    Object.entries(flags).map(([name, { kind, help }]) => `  ${`-${name}${placeholder(kind)}`.padEnd(28)}${help}`);
  const examples = (definition.examples ?? []).map((example) => `  $ coffer ${example}`);
  return [
    `Usage: ${`coffer ${definition.name} [flags] ${definition.usage}`.trimEnd()}`,
    "",
    definition.summary,
    ...(examples.length > 0 ? ["", "Examples:", ...examples] : []),
    ...(Object.keys(own).length > 0 ? ["", "Flags:", ...list(own)] : []),
    "",
    "Flags of every command:",
    ...list(shared),
    "",
  ].join("\n");
}

function placeholder(kind: Flags[string]["kind"]): string {
  return { text: "=TEXT", number: "=N", switch: "", texts: "=A,B", pairs: "=KEY=VALUE" }[kind];
}
