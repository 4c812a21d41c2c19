// Every function that templates have. What is not in a group listed here does not exist: no files, no programs, no
// network, no service catalogue.
import type { Functions, TemplateFunction } from "../function.ts";
import { builtins } from "./builtins.ts";
import { collections } from "./collections.ts";
import { encodings } from "./encodings.ts";
import { numbers } from "./numbers.ts";
import { secretFunctions } from "./secret-functions.ts";
import { sprigData } from "./sprig-data.ts";
import { sprigTexts } from "./sprig-texts.ts";
import { texts } from "./texts.ts";

const GROUPS: readonly Functions[] = [
  ...[builtins, collections, encodings, numbers, secretFunctions, sprigData, sprigTexts, texts],
];
/** These two are evaluated by the evaluator, since they do not evaluate all their arguments. */
const SPECIAL = ["and", "or"];

/** The functions by name, without a prototype, so that "constructor" is none. */
export function templateFunctions(): Functions {
  const all: Record<string, TemplateFunction> = Object.create(null);
  return Object.assign(all, ...GROUPS);
}

export function functionNames(): readonly string[] {
  return [...SPECIAL, ...Object.keys(templateFunctions())].sort();
}
