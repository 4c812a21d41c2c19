// Walks the tree and writes the output, as Go's text/template/exec does it. It reaches nothing but the functions it is
// given; every node costs a step of the budget.
import { Fault, FaultAt } from "./fault.ts";
import type { FunctionContext, Functions, TemplateHost } from "./function.ts";
import { Budget, OUTPUT_MAX } from "./limits.ts";
import { fieldOf, firstFieldOf, itemsOf } from "./members.ts";
import { outputOf } from "./printing.ts";
import type { RegexContext } from "./regex.ts";
import type { Branch, Command, Node, Operand, Pipeline, Tree } from "./syntax.ts";
import { isTrue, type Value } from "./values.ts";

export interface Evaluation {
  readonly functions: Functions;
  readonly host: TemplateHost;
  readonly regexContext: RegexContext;
  /** The dot at the beginning. */
  readonly data: Value;
  /** A key that a map does not have is an error, instead of nothing. */
  readonly errorOnMissingKey: boolean;
}

/** The output. Throws FaultAt. */
export function evaluate(tree: Tree, evaluation: Evaluation): string {
  const evaluator = new Evaluator(tree, evaluation);
  return evaluator.run(tree.root, evaluation.data);
}

type Flow = "on" | "break" | "continue";
interface Variable {
  readonly name: string;
  value: Value;
}

class Evaluator {
  readonly #tree: Tree;
  readonly #evaluation: Evaluation;
  readonly #budget: Budget;
  readonly #context: FunctionContext;
  #variables: Variable[] = [];
  #parts: string[] = [];
  #written = 0;

  constructor(tree: Tree, evaluation: Evaluation) {
    this.#tree = tree;
    this.#evaluation = evaluation;
    this.#budget = new Budget(() => evaluation.host.now(), evaluation.regexContext);
    const execute = (name: string, data: Value) => this.#execute(name, data);
    this.#context = { budget: this.#budget, host: evaluation.host, execute };
  }

  run(nodes: readonly Node[], dot: Value): string {
    const outer = { variables: this.#variables, parts: this.#parts };
    this.#variables = [{ name: "$", value: dot }];
    this.#parts = [];
    this.#walk(nodes, dot);
    const output = this.#parts.join("");
    this.#variables = outer.variables;
    this.#parts = outer.parts;
    return output;
  }

  #execute(name: string, data: Value): string {
    const nodes = this.#tree.defined.get(name);
    if (nodes === undefined) throw new Fault("there is no template of that name");
    return this.#budget.deeper(() => this.run(nodes, data));
  }

  #walk(nodes: readonly Node[], dot: Value): Flow {
    for (const node of nodes) {
      const flow = this.#node(node, dot);
      if (flow !== "on") return flow;
    }
    return "on";
  }

  #node(node: Node, dot: Value): Flow {
    this.#at(node.at, () => this.#budget.step());
    switch (node.kind) {
      case "text":
        return this.#write(node.at, node.text);
      case "action": {
        const value = this.#pipeline(node.pipeline, dot);
        return node.pipeline.variables.length > 0
          ? "on"
          : this.#write(
              node.at,
              this.#at(node.at, () => outputOf(value)),
            );
      }
      case "template": {
        const data = node.pipeline === undefined ? null : this.#pipeline(node.pipeline, dot);
        return this.#write(
          node.at,
          this.#at(node.at, () => this.#execute(node.name, data)),
        );
      }
      case "break":
      case "continue":
        return node.kind;
      case "range":
        return this.#range(node, dot);
      default:
        return this.#condition(node, dot, node.kind === "with");
    }
  }

  #write(at: number, text: string): Flow {
    this.#written += text.length;
    if (this.#written > OUTPUT_MAX) throw new FaultAt(at, `the output is longer than ${OUTPUT_MAX} characters`);
    this.#parts.push(text);
    return "on";
  }

  #condition(branch: Branch, dot: Value, changesDot: boolean): Flow {
    const mark = this.#variables.length;
    const value = this.#pipeline(branch.pipeline, dot);
    const flow = isTrue(value) ? this.#walk(branch.body, changesDot ? value : dot) : this.#walk(branch.otherwise, dot);
    this.#variables.length = mark;
    return flow;
  }

  #range(branch: Branch, dot: Value): Flow {
    const mark = this.#variables.length;
    const { pipeline } = branch;
    const value = this.#pipeline({ ...pipeline, variables: [] }, dot);
    const items = this.#at(pipeline.at, () => itemsOf(value, this.#budget));
    let flow: Flow = "on";
    for (const [key, item] of items) {
      this.#at(branch.at, () => this.#budget.step());
      const inner = this.#variables.length;
      this.#setLoop(pipeline, key, item);
      flow = this.#walk(branch.body, item);
      this.#variables.length = inner;
      if (flow === "break") break;
    }
    if (items.length === 0) flow = this.#walk(branch.otherwise, dot);
    this.#variables.length = mark;
    return items.length === 0 ? flow : "on";
  }

  #setLoop(pipeline: Pipeline, key: Value, item: Value): void {
    const [first, second] = pipeline.variables;
    if (first === undefined) return;
    this.#set(pipeline, first, second === undefined ? item : key);
    if (second !== undefined) this.#set(pipeline, second, item);
  }

  #set({ assigns }: Pipeline, name: string, value: Value): void {
    const known = assigns ? this.#variables.findLast((variable) => variable.name === name) : undefined;
    if (known === undefined) this.#variables.push({ name, value });
    else known.value = value;
  }

  #pipeline(pipeline: Pipeline, dot: Value): Value {
    let value: Value | undefined;
    for (const command of pipeline.commands) value = this.#command(command, dot, value);
    const result = value ?? null;
    for (const name of pipeline.variables) this.#set(pipeline, name, result);
    return result;
  }

  /** `final` is what | hands over; undefined in the first command. */
  #command({ first, args }: Command, dot: Value, final: Value | undefined): Value {
    this.#at(first.at, () => this.#budget.step());
    if (first.kind === "function") return this.#call(first.at, first.name, args, dot, final);
    const hasArguments = args.length > 0 || final !== undefined;
    if (first.kind === "nil") throw new FaultAt(first.at, "nil is no command");
    if (!hasArguments) return this.#operand(first, dot);
    if (first.kind === "field" || first.kind === "variable" || first.kind === "chain") {
      return this.#member(first, dot, () => this.#values(args, dot, final));
    }
    throw new FaultAt(first.at, "this is no function and takes no arguments");
  }

  #values(args: readonly Operand[], dot: Value, final: Value | undefined): readonly Value[] {
    const values = args.map((operand) => this.#operand(operand, dot));
    return final === undefined ? values : [...values, final];
  }

  #operand(operand: Operand, dot: Value): Value {
    switch (operand.kind) {
      case "dot":
        return dot;
      case "nil":
        return null;
      case "literal":
        return operand.value;
      case "pipeline":
        return this.#pipeline(operand.pipeline, dot);
      case "function":
        return this.#call(operand.at, operand.name, [], dot, undefined);
      default:
        return this.#member(operand, dot, () => []);
    }
  }

  #member(operand: Operand & { names: readonly string[] }, dot: Value, args: () => readonly Value[]): Value {
    let value = operand.kind === "field" ? dot : this.#base(operand, dot);
    const last = operand.names.length - 1;
    for (const [i, name] of operand.names.entries()) {
      const given = i === last ? args() : [];
      const read = i === 0 ? firstFieldOf : fieldOf;
      value = this.#at(operand.at, () => read(value, name, given, this.#evaluation.errorOnMissingKey));
    }
    if (last < 0 && args().length > 0)
      throw new FaultAt(operand.at, "a variable is no function and takes no arguments");
    return value;
  }

  #base(operand: Operand, dot: Value): Value {
    if (operand.kind === "chain") return this.#operand(operand.base, dot);
    if (operand.kind !== "variable") return dot;
    return this.#variables.findLast((variable) => variable.name === operand.name)?.value ?? null;
  }

  #call(at: number, name: string, args: readonly Operand[], dot: Value, final: Value | undefined): Value {
    if (name === "and" || name === "or") return this.#shortCircuit(at, name, args, dot, final);
    const run = this.#evaluation.functions[name];
    const values = this.#values(args, dot, final);
    return this.#at(at, () => {
      this.#budget.step();
      if (run === undefined) throw new Fault(`there is no function "${name}"`);
      try {
        return run(this.#context, values);
      } catch (error) {
        if (error instanceof Fault) throw new Fault(`${name}: ${error.message}`);
        throw error;
      }
    });
  }

  /** `and` and `or` stop at the first argument that decides. */
  #shortCircuit(at: number, name: string, args: readonly Operand[], dot: Value, final: Value | undefined): Value {
    if (args.length === 0 && final === undefined) throw new FaultAt(at, `${name}: wants at least 1 argument and has 0`);
    let value: Value = null;
    for (const operand of args) {
      value = this.#operand(operand, dot);
      if (isTrue(value) === (name === "or")) return value;
    }
    return final === undefined ? value : final;
  }

  #at<T>(at: number, run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof Fault) throw new FaultAt(at, error.message);
      throw error;
    }
  }
}
