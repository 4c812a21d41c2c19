// What goes wrong in a template: a sentence where it is known, and the place in the text where that is known. Sentences
// name functions, fields and kinds of value, never a value: values are secrets.
import { CofferError } from "#common/errors.ts";

/** A failure whose place is not known yet. */
export class Fault extends Error {
  override readonly name = "Fault";
}

/** A failure at an offset of the template's text. */
export class FaultAt extends Error {
  override readonly name = "FaultAt";
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** The error for people: `template app.conf:3:12: …`, line and column counted from 1. */
export function located(name: string, text: string, { offset, message }: FaultAt): CofferError {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  const column = [...before.slice(before.lastIndexOf("\n") + 1)].length + 1;
  return new CofferError("invalid_request", `template ${name}:${line}:${column}: ${message}`);
}
