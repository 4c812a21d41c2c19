// The model that histories of KV version 2 are checked against: a register with a version. A write makes the next
// version, check-and-set does so only at the version it names, a delete hides the value and keeps the version, a purge
// (of the metadata) brings the register back to where it was before the first write.
import type { Model } from "./operation.ts";

export type RegisterInput =
  | { readonly op: "read" }
  | { readonly op: "write"; readonly value: string }
  | { readonly op: "cas"; readonly version: number; readonly value: string }
  | { readonly op: "delete" }
  | { readonly op: "purge" };

export interface RegisterState {
  /** 0: there is nothing. */
  readonly version: number;
  /** Undefined: deleted, or there is nothing. */
  readonly value: string | undefined;
}

const NOTHING: RegisterState = { version: 0, value: undefined };

/** The answers, in words. */
export const NOTHING_FOUND = "nothing";
export const MISMATCH = "mismatch";
export const DONE = "done";
export const found = ({ version, value }: RegisterState): string =>
  version === 0 ? NOTHING_FOUND : `v${version} ${value === undefined ? "deleted" : JSON.stringify(value)}`;
export const written = (version: number): string => `v${version}`;

export const register: Model<RegisterState, RegisterInput> = {
  initial: NOTHING,
  apply: (state, input) => {
    switch (input.op) {
      case "read":
        return { state, output: found(state) };
      case "write":
        return write(state, input.value);
      case "cas":
        return input.version === state.version ? write(state, input.value) : { state, output: MISMATCH };
      case "delete":
        return { state: { version: state.version, value: undefined }, output: DONE };
      case "purge":
        return { state: NOTHING, output: DONE };
    }
  },
  nameOf: found,
  show: (input) => {
    if (input.op === "write") return `write ${JSON.stringify(input.value)}`;
    return input.op === "cas" ? `cas at v${input.version} to ${JSON.stringify(input.value)}` : input.op;
  },
  isNeutral: (input, output) => input.op === "read" || output === MISMATCH,
};

function write({ version }: RegisterState, value: string): { state: RegisterState; output: string } {
  return { state: { version: version + 1, value }, output: written(version + 1) };
}
