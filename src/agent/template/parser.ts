// From tokens to the tree, as Go's text/template/parse does it: blocks, then pipelines. Names of functions and variables
// are checked here, so that a typing error is found before any secret is read.
import { FaultAt } from "./fault.ts";
import { cutTokens, type Delimiters, type Token } from "./lexer.ts";
import { NESTING_MAX } from "./limits.ts";
import { PipelineParser } from "./pipeline-parser.ts";
import type { Node, Pipeline, Tree } from "./syntax.ts";
import { TokenReader } from "./token-reader.ts";

const ENDINGS = new Set(["end", "else"]);

/** Parses a template. `isFunction` tells which names are functions. Throws FaultAt. */
export function parseTemplate(text: string, delimiters: Delimiters, isFunction: (name: string) => boolean): Tree {
  const parser = new Parser(new TokenReader(cutTokens(text, delimiters)), isFunction);
  return { root: parser.whole(), defined: parser.defined };
}

interface Stopped {
  readonly nodes: readonly Node[];
  /** The word that ended the list: `end`, `else`, or undefined at the text's end. */
  readonly by: string | undefined;
}

class Parser {
  readonly defined = new Map<string, readonly Node[]>();
  readonly #tokens: TokenReader;
  readonly #pipelines: PipelineParser;
  #depth = 0;
  #loops = 0;

  constructor(tokens: TokenReader, isFunction: (name: string) => boolean) {
    this.#tokens = tokens;
    this.#pipelines = new PipelineParser(tokens, isFunction);
  }

  whole(): readonly Node[] {
    const at = this.#tokens.peek().at;
    const { nodes, by } = this.#list();
    if (by !== undefined) throw new FaultAt(at, `there is an {{ ${by} }} too many`);
    return nodes;
  }

  #list(): Stopped {
    const nodes: Node[] = [];
    while (true) {
      const token = this.#tokens.next();
      if (token.kind === "end") return { nodes, by: undefined };
      if (token.kind === "text") nodes.push({ kind: "text", at: token.at, text: token.text });
      else if (token.kind !== "left") throw unexpected(token);
      else {
        const word = this.#tokens.peekWord();
        if (ENDINGS.has(word)) {
          this.#tokens.next();
          return { nodes, by: word };
        }
        const node = this.#action(token.at, word);
        if (node !== undefined) nodes.push(node);
      }
    }
  }

  #action(at: number, word: string): Node | undefined {
    switch (word) {
      case "if":
      case "with":
      case "range":
        this.#tokens.next();
        return this.#branch(at, word);
      case "define":
        this.#tokens.next();
        return this.#define(at);
      case "block":
        this.#tokens.next();
        return this.#block(at);
      case "template": {
        this.#tokens.next();
        const name = this.#quotedName(at, word);
        const pipeline = this.#tokens.peek().kind === "right" ? undefined : this.#pipelines.pipeline(0);
        this.#tokens.expectRight();
        return { kind: "template", at, name, pipeline };
      }
      case "break":
      case "continue":
        this.#tokens.next();
        if (this.#loops === 0) throw new FaultAt(at, `{{ ${word} }} is only for within a range`);
        this.#tokens.expectRight();
        return { kind: word, at };
    }
    const pipeline = this.#pipelines.pipeline(1);
    this.#tokens.expectRight();
    return { kind: "action", at, pipeline };
  }

  #branch(at: number, kind: "if" | "with" | "range"): Node {
    const mark = this.#pipelines.mark();
    const pipeline = this.#pipelines.pipeline(kind === "range" ? 2 : 1);
    this.#tokens.expectRight();
    if (kind === "range") this.#loops++;
    const then = this.#inside(at, kind);
    if (kind === "range") this.#loops--;
    const otherwise = then.by === "else" ? this.#otherwise(at, kind) : [];
    this.#pipelines.release(mark);
    return { kind, at, pipeline, body: then.nodes, otherwise };
  }

  /** Behind `else`: a list, or `else if` and `else with`, whose `end` is the outer one's too. */
  #otherwise(at: number, kind: "if" | "with" | "range"): readonly Node[] {
    const word = this.#tokens.peekWord();
    if (word === kind && kind !== "range") {
      const token = this.#tokens.next();
      return [this.#deeper(at, () => this.#branch(token.at, kind))];
    }
    this.#tokens.expectRight();
    const { nodes, by } = this.#inside(at, kind);
    if (by === "else") throw new FaultAt(at, `this ${kind} has two {{ else }}`);
    return nodes;
  }

  /** A list that must be ended by a word. */
  #inside(at: number, kind: string): Stopped {
    const inner = this.#deeper(at, () => this.#list());
    if (inner.by === undefined) throw new FaultAt(at, `this ${kind} has no {{ end }}`);
    if (inner.by === "end") this.#tokens.expectRight();
    return inner;
  }

  #deeper<T>(at: number, parse: () => T): T {
    if (++this.#depth > NESTING_MAX) throw new FaultAt(at, `blocks are nested deeper than ${NESTING_MAX} levels`);
    const result = parse();
    this.#depth--;
    return result;
  }

  #define(at: number): undefined {
    const name = this.#quotedName(at, "define");
    this.#tokens.expectRight();
    if (this.#depth > 0) throw new FaultAt(at, "a define cannot stand within another block");
    this.#defineBody(at, name, "define");
  }

  #block(at: number): Node {
    const name = this.#quotedName(at, "block");
    const pipeline: Pipeline = this.#pipelines.pipeline(0);
    this.#tokens.expectRight();
    this.#defineBody(at, name, "block");
    return { kind: "template", at, name, pipeline };
  }

  #defineBody(at: number, name: string, kind: string): void {
    const [loops, restore] = [this.#loops, this.#pipelines.isolate()];
    this.#loops = 0;
    const { nodes, by } = this.#inside(at, kind);
    if (by === "else") throw new FaultAt(at, `a ${kind} has no {{ else }}`);
    this.#loops = loops;
    restore();
    this.defined.set(name, nodes);
  }

  #quotedName(at: number, word: string): string {
    const token = this.#tokens.next();
    if (token.kind === "literal" && typeof token.value === "string") return token.value;
    throw new FaultAt(at, `${word} wants a name in quotes`);
  }
}

function unexpected(token: Token): FaultAt {
  return new FaultAt(token.at, "this does not belong here");
}
