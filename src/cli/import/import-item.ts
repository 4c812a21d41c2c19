// What an import is made of: kinds of things, items of each, and for every item a plan that says what would be done
// before it is done. A plan reads both servers and writes to neither.
import type { ApiClient } from "#client/api-client.ts";
import type { Clock } from "#common/clock.ts";

export interface Ends {
  readonly source: ApiClient;
  readonly target: ApiClient;
  readonly clock: Clock;
}

export type Plan =
  | { readonly action: "unchanged" }
  | { readonly action: "skip"; readonly reason: string }
  | {
      readonly action: "create" | "update";
      /** What does not come along with it, one line each. */
      readonly losses?: readonly string[];
      /** Writes to the target; may run again when it failed. */
      readonly apply: () => Promise<unknown>;
    };

export interface ImportItem {
  /** How it is named in filters and reports. */
  readonly path: string;
  plan(): Promise<Plan>;
}

export interface ImportKind {
  readonly name: string;
  /** What the kind holds, for help and docs. */
  readonly doc: string;
  items(ends: Ends): AsyncGenerator<ImportItem>;
}

export const skipped = (reason: string) => async (): Promise<Plan> => ({ action: "skip", reason });
