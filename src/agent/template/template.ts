// Templates as the agent uses them: compiled once, rendered at every round. Errors name the template, line and column.
// Language and functions: docs/guides/templates.md.
import { CofferError } from "#common/errors.ts";
import { bytesOfText } from "./byte-text.ts";
import { evaluate } from "./evaluator.ts";
import { FaultAt, located } from "./fault.ts";
import type { TemplateHost } from "./function.ts";
import { functionNames, templateFunctions } from "./functions/registry.ts";
import { TEMPLATE_BYTES_MAX } from "./limits.ts";
import { parseTemplate } from "./parser.ts";
import { RegexContext } from "./regex.ts";
import type { Value } from "./values.ts";

export interface TemplateText {
  /** For messages: the file that is written. */
  readonly name: string;
  readonly text: string;
  /** What opens and closes an action; {{ and }} by default. */
  readonly leftDelimiter?: string | undefined;
  readonly rightDelimiter?: string | undefined;
}

export interface Template {
  /** The file's content. Throws `invalid_request` that names line and column. */
  render(input: { host: TemplateHost; data: Value; errorOnMissingKey: boolean }): Buffer;
}

/** Parses a template. Throws `invalid_request` that names line and column. */
export function compileTemplate({ name, text, leftDelimiter, rightDelimiter }: TemplateText): Template {
  if (Buffer.byteLength(text) > TEMPLATE_BYTES_MAX) {
    throw new CofferError("invalid_request", `template ${name} is longer than ${TEMPLATE_BYTES_MAX} bytes`);
  }
  const names = new Set(functionNames());
  const delimiters = { left: leftDelimiter || "{{", right: rightDelimiter || "}}" };
  const tree = placed(name, text, () => parseTemplate(text, delimiters, (word) => names.has(word)));
  const functions = templateFunctions();
  const regexContext = new RegexContext();
  return {
    render: (input) => placed(name, text, () => bytesOfText(evaluate(tree, { functions, regexContext, ...input }))),
  };
}

function placed<T>(name: string, text: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof FaultAt) throw located(name, text, error);
    throw error;
  }
}
