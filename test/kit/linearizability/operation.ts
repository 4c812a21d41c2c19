// What a history is made of and what a model must say about it. Knows no storage and no server: anything that has
// operations with a beginning and an end can be checked.

/** One operation as its client saw it. */
export interface Operation<Input> {
  readonly client: string;
  /** Operations on different keys have nothing to do with each other. */
  readonly key: string;
  readonly input: Input;
  /** What was answered, as the model would say it; undefined when the outcome is unknown: it may happen at any time. */
  readonly output: string | undefined;
  /** Milliseconds of one monotonic clock. */
  readonly begin: number;
  /** The same; Infinity when the outcome is unknown. */
  readonly end: number;
}

/** An object that does one operation after the other. */
export interface Model<State, Input> {
  readonly initial: State;
  apply(state: State, input: Input): { readonly state: State; readonly output: string };
  /** Equal states have equal names. */
  nameOf(state: State): string;
  show(input: Input): string;
  /** Whether such an answer means that nothing was changed, so that a history without the operation is one too. */
  isNeutral(input: Input, output: string): boolean;
}

/** The history up to this time: what has not been answered by then is unknown. */
export function prefixOf<Input>(operations: readonly Operation<Input>[], time: number): readonly Operation<Input>[] {
  return operations
    .filter(({ begin }) => begin <= time)
    .map((operation) => (operation.end <= time ? operation : { ...operation, output: undefined, end: Infinity }));
}
