// The tree that a template is parsed into. `at` is an offset of the template's text.
import type { Value } from "./values.ts";

export type Operand =
  | { readonly kind: "dot" | "nil"; readonly at: number }
  | { readonly kind: "literal"; readonly at: number; readonly value: Value }
  /** `.a.b`, from the dot. */
  | { readonly kind: "field"; readonly at: number; readonly names: readonly string[] }
  /** `$x.a.b`. */
  | { readonly kind: "variable"; readonly at: number; readonly name: string; readonly names: readonly string[] }
  /** `(…).a.b`. */
  | { readonly kind: "chain"; readonly at: number; readonly base: Operand; readonly names: readonly string[] }
  | { readonly kind: "function"; readonly at: number; readonly name: string }
  | { readonly kind: "pipeline"; readonly at: number; readonly pipeline: Pipeline };

export interface Command {
  readonly at: number;
  readonly first: Operand;
  readonly args: readonly Operand[];
}

export interface Pipeline {
  readonly at: number;
  /** Names that the value is given to; two only in `range`. */
  readonly variables: readonly string[];
  /** `=` instead of `:=`. */
  readonly assigns: boolean;
  readonly commands: readonly Command[];
}

export interface Branch {
  readonly at: number;
  readonly pipeline: Pipeline;
  readonly body: readonly Node[];
  readonly otherwise: readonly Node[];
}

export type Node =
  | { readonly kind: "text"; readonly at: number; readonly text: string }
  | { readonly kind: "action"; readonly at: number; readonly pipeline: Pipeline }
  | ({ readonly kind: "if" | "with" | "range" } & Branch)
  | {
      readonly kind: "template";
      readonly at: number;
      readonly name: string;
      readonly pipeline: Pipeline | undefined;
    }
  | { readonly kind: "break" | "continue"; readonly at: number };

export interface Tree {
  readonly root: readonly Node[];
  /** Those of `define` and `block`. */
  readonly defined: ReadonlyMap<string, readonly Node[]>;
}
