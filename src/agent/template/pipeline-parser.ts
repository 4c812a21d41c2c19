// Pipelines: `$x := .a.b | printf "%s" (len .c)`. Knows which variables are in scope.
import { FaultAt } from "./fault.ts";
import { NESTING_MAX } from "./limits.ts";
import type { Command, Operand, Pipeline } from "./syntax.ts";
import type { TokenReader } from "./token-reader.ts";

export class PipelineParser {
  readonly #tokens: TokenReader;
  readonly #isFunction: (name: string) => boolean;
  #variables: string[] = ["$"];
  #depth = 0;

  constructor(tokens: TokenReader, isFunction: (name: string) => boolean) {
    this.#tokens = tokens;
    this.#isFunction = isFunction;
  }

  mark(): number {
    return this.#variables.length;
  }

  release(mark: number): void {
    this.#variables.length = mark;
  }

  /** Hides the variables, as a defined template does not see those around it; gives what brings them back. */
  isolate(): () => void {
    const outer = this.#variables;
    this.#variables = ["$"];
    return () => {
      this.#variables = outer;
    };
  }

  /** Up to the action's or the parenthesis' end, which is left to the caller. `most` is how many variables it may set. */
  pipeline(most: number): Pipeline {
    const at = this.#tokens.peek().at;
    const { variables, assigns } = this.#targets(most);
    const commands: Command[] = [];
    do commands.push(this.#command());
    while (this.#takeSign("|"));
    for (const { first, args } of commands.slice(1)) {
      const isCallable = first.kind !== "literal" && first.kind !== "dot" && first.kind !== "nil";
      if (!isCallable && args.length === 0) throw new FaultAt(first.at, "behind | there must be a function");
    }
    if (!assigns) this.#variables.push(...variables);
    return { at, variables, assigns, commands };
  }

  #targets(most: number): { variables: readonly string[]; assigns: boolean } {
    const first = this.#tokens.peek();
    if (first.kind !== "variable") return { variables: [], assigns: false };
    const second = this.#tokens.peek(2);
    const pair = this.#tokens.isSign(",", 1) && second.kind === "variable";
    const variables = pair ? [first.text, second.text] : [first.text];
    const sign = pair ? 3 : 1;
    const assigns = this.#tokens.isSign("=", sign);
    if (!assigns && !this.#tokens.isSign(":=", sign)) {
      if (pair) throw new FaultAt(second.at, "behind two variables there must be :=");
      return { variables: [], assigns: false };
    }
    if (variables.length > most) throw new FaultAt(first.at, "only a range sets two variables, and parentheses none");
    if (assigns) for (const name of variables) this.#requireVariable(first.at, name);
    for (let i = 0; i <= sign; i++) this.#tokens.next();
    return { variables, assigns };
  }

  #takeSign(text: string): boolean {
    if (!this.#tokens.isSign(text)) return false;
    this.#tokens.next();
    return true;
  }

  #command(): Command {
    const at = this.#tokens.peek().at;
    const [first, ...args] = this.#operands();
    if (first === undefined) throw new FaultAt(at, "a value is missing here");
    return { at, first, args };
  }

  #operands(): readonly Operand[] {
    const operands: Operand[] = [];
    while (true) {
      const token = this.#tokens.peek();
      if (operands.length > 0 && !token.spaced && !this.#isEnd())
        throw new FaultAt(token.at, "a space is missing here");
      const operand = this.#operand();
      if (operand === undefined) return operands;
      operands.push(operand);
    }
  }

  #isEnd(): boolean {
    const token = this.#tokens.peek();
    return token.kind === "right" || token.kind === "end" || token.kind === "sign";
  }

  #operand(): Operand | undefined {
    const token = this.#tokens.peek();
    const { at } = token;
    if (token.kind === "sign" && token.text !== "." && token.text !== "(") return undefined;
    if (token.kind === "right" || token.kind === "end" || token.kind === "text" || token.kind === "left")
      return undefined;
    this.#tokens.next();
    if (token.kind === "literal") return { kind: "literal", at, value: token.value };
    if (token.kind === "field") return { kind: "field", at, names: [token.text, ...this.#names()] };
    if (token.kind === "variable") {
      this.#requireVariable(at, token.text);
      return { kind: "variable", at, name: token.text, names: this.#names() };
    }
    if (token.kind === "word") return this.#word(at, token.text);
    return token.kind === "sign" && token.text === "." ? { kind: "dot", at } : this.#parenthesis(at);
  }

  #parenthesis(at: number): Operand {
    if (++this.#depth > NESTING_MAX) throw new FaultAt(at, `parentheses are nested deeper than ${NESTING_MAX} levels`);
    const pipeline = this.pipeline(0);
    this.#depth--;
    if (!this.#takeSign(")")) throw new FaultAt(this.#tokens.peek().at, "a ) is missing here");
    const base: Operand = { kind: "pipeline", at, pipeline };
    const names = this.#names();
    return names.length === 0 ? base : { kind: "chain", at, base, names };
  }

  #word(at: number, text: string): Operand {
    if (text === "true" || text === "false") return { kind: "literal", at, value: text === "true" };
    if (text === "nil") return { kind: "nil", at };
    if (!this.#isFunction(text)) throw new FaultAt(at, `there is no function "${text.slice(0, 64)}" in templates here`);
    const names = this.#names();
    const called: Operand = { kind: "function", at, name: text };
    return names.length === 0 ? called : { kind: "chain", at, base: called, names };
  }

  /** Fields that follow without space. */
  #names(): readonly string[] {
    const names: string[] = [];
    for (let token = this.#tokens.peek(); token.kind === "field" && !token.spaced; token = this.#tokens.peek()) {
      names.push(token.text);
      this.#tokens.next();
    }
    return names;
  }

  #requireVariable(at: number, name: string): void {
    if (!this.#variables.includes(name)) throw new FaultAt(at, `the variable ${name} is not set here`);
  }
}
