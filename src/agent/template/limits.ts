// What one evaluation of a template may cost. Templates come from whoever may write a SecretBinding, and the agent that
// runs them lives in 64 MiB; without limits a line such as {{ range loop 1000000000 }} would hang it.
import { Fault } from "./fault.ts";
import { type RegexContext, RegexRunner } from "./regex.ts";

/** Text of one template. A ConfigMap holds 1 MiB; a template beyond a quarter of it is a mistake. */
export const TEMPLATE_BYTES_MAX = 256 * 1024;
/** Characters of the rendered file. Kubernetes keeps Secrets below 1 MiB, and so do those who read such files. */
export const OUTPUT_MAX = 1024 * 1024;
/** Nodes evaluated, turns of loops and calls: below a second on an idle core. */
export const STEPS_MAX = 500_000;
/** Actions and parentheses within one another, and templates that call templates. */
export const NESTING_MAX = 64;
/** Characters and items that all functions of one evaluation together may make. */
export const PRODUCED_MAX = 8 * 1024 * 1024;

/** Counts what an evaluation uses; each call throws a Fault when its limit is passed. */
export class Budget {
  readonly regexes: RegexRunner;
  #steps = 0;
  #produced = 0;
  #depth = 0;

  /** `now` is in milliseconds, for what is limited by time. */
  constructor(now: () => number, context: RegexContext) {
    this.regexes = new RegexRunner(now, context);
  }

  step(): void {
    if (++this.#steps > STEPS_MAX) throw new Fault(`the template takes more than ${STEPS_MAX} steps: make it smaller`);
  }

  /** Called before something of that size is made. */
  produce(size: number): void {
    this.#produced += size;
    if (this.#produced > PRODUCED_MAX) {
      throw new Fault(`the functions of the template make more than ${PRODUCED_MAX} characters: make it smaller`);
    }
  }

  deeper<T>(run: () => T): T {
    if (++this.#depth > NESTING_MAX) throw new Fault(`templates are nested deeper than ${NESTING_MAX} levels`);
    try {
      return run();
    } finally {
      this.#depth--;
    }
  }
}
