// How a function of templates is declared: what it takes, then what it makes of it. What a function is given wrongly is
// told by the number of the argument and the kinds of value, never by the value.
import { Fault } from "./fault.ts";
import type { Budget } from "./limits.ts";
import { isList, isMap, JsonNumber, kindOf, type Value, type ValueMap } from "./values.ts";

/** What functions may use besides their arguments. */
export interface FunctionContext {
  readonly budget: Budget;
  readonly host: TemplateHost;
  /** Runs a defined template. */
  execute(name: string, data: Value): string;
}

/** A secret that a template asks for. */
export interface SecretRequest {
  readonly verb: "read" | "write" | "list" | "certificate";
  readonly path: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** What the agent gives to templates: there is nothing else that they could reach. */
export interface TemplateHost {
  /** The secret, or null while it is not known; then the evaluation is not the last one. */
  secret(request: SecretRequest): Value;
  /** The keys of a source of the binding; null when it is absent. */
  source(name: string): Value;
  /** A variable of the agent's environment, "" for those that templates may not see. */
  environment(name: string): string;
  /** In milliseconds since 1970. */
  now(): number;
}

export type TemplateFunction = (context: FunctionContext, args: readonly Value[]) => Value;
export type Functions = Readonly<Record<string, TemplateFunction>>;

/** Reads one argument; throws a Fault that says what was wanted. */
export type Parameter<T> = (value: Value) => T;
type Read<P extends readonly Parameter<Value>[]> = { readonly [K in keyof P]: ReturnType<P[K]> };

const wants = (what: string, value: Value) => new Fault(`must be ${what} and is ${kindOf(value)}`);

export const any: Parameter<Value> = (value) => value;
/** A text, or a number as the server spelled it. */
export const text: Parameter<string> = (value) => {
  if (typeof value === "string") return value;
  if (value instanceof JsonNumber) return value.text;
  throw wants("a text", value);
};
export const integer: Parameter<number> = (value) => {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number)) return number;
  throw wants("a whole number", value);
};
export const list: Parameter<readonly Value[]> = (value) => {
  if (isList(value)) return value;
  throw wants("a list", value);
};
export const map: Parameter<ValueMap> = (value) => {
  if (isMap(value)) return value;
  throw wants("a map", value);
};

/** A function of exactly these arguments. */
export function takes<const P extends readonly Parameter<Value>[]>(
  parameters: P,
  run: (args: Read<P>, context: FunctionContext) => Value,
): TemplateFunction {
  return (context, args) => {
    if (args.length !== parameters.length) throw new Fault(`wants ${count(parameters.length)} and has ${args.length}`);
    const read: unknown = parameters.map((parameter, i) => readArgument(parameter, args[i] ?? null, i));
    // The compiler does not follow a mapped tuple through `map`; the line above reads each by its own parameter.
    return run(read as Read<P>, context);
  };
}

/** A function of some arguments and any number more, all of one kind. */
export function takesMany<T extends Value>(
  least: number,
  parameter: Parameter<T>,
  run: (args: readonly T[], context: FunctionContext) => Value,
): TemplateFunction {
  return (context, args) => {
    if (args.length < least) throw new Fault(`wants at least ${count(least)} and has ${args.length}`);
    return run(
      args.map((value, i) => readArgument(parameter, value, i)),
      context,
    );
  };
}

function readArgument<T>(parameter: Parameter<T>, value: Value, index: number): T {
  try {
    return parameter(value);
  } catch (error) {
    if (error instanceof Fault) throw new Fault(`argument ${index + 1} ${error.message}`);
    throw error;
  }
}

function count(arguments_: number): string {
  return arguments_ === 1 ? "1 argument" : `${arguments_} arguments`;
}
