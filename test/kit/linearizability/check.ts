// Checks a history key by key and, where no order explains the answers, says so with as few operations as can be: up to
// the first answer that is impossible, without those that changed nothing, from the last moment at which nobody waited.
import { type Model, type Operation, prefixOf } from "./operation.ts";
import { type Final, finals } from "./search.ts";

export interface CheckedHistory {
  readonly operations: number;
  readonly unknown: number;
  /** For people; none when the history is linearizable. */
  readonly violations: readonly string[];
}

/** More states to begin with are not shown; the explanation then begins earlier. */
const STARTS_MAX = 16;

/** Throws SearchTooLong. */
export function checkHistory<State, Input>(
  history: readonly Operation<Input>[],
  model: Model<State, Input>,
): CheckedHistory {
  const violations: string[] = [];
  for (const [key, operations] of Map.groupBy(history, (operation) => operation.key))
    if (!isLinearizable(operations, model)) violations.push(explain(key, operations, model));
  const unknown = history.filter(({ output }) => output === undefined).length;
  return { operations: history.length, unknown, violations };
}

/** Of operations on one key. */
export function isLinearizable<State, Input>(
  operations: readonly Operation<Input>[],
  model: Model<State, Input>,
): boolean {
  return finals(operations, model).next().done !== true;
}

function explain<State, Input>(
  key: string,
  operations: readonly Operation<Input>[],
  model: Model<State, Input>,
): string {
  const few = withoutNeutral(shortestBadPrefix(operations, model), model);
  const last = lastAnswered(few);
  const { starts, rest } = fromLastPause(few, last, model);
  const lines = rest
    .toSorted((a, b) => a.begin - b.begin)
    .map((operation) => `  ${line(operation, model)}${operation === last ? "   <- impossible" : ""}`);
  const before = starts.map((state) => model.nameOf(state)).join(" or ");
  return [`key ${key}: no order of the operations explains the answers`, `  at first: ${before}`, ...lines].join("\n");
}

function line<Input>(operation: Operation<Input>, model: Pick<Model<unknown, Input>, "show">): string {
  const { begin, end, client, input, output } = operation;
  const until = output === undefined ? "" : end.toFixed(3);
  return `${begin.toFixed(3)}-${until.padEnd(10)} ${client}: ${model.show(input)} -> ${output ?? "unknown"}`;
}

/** Prefixes of a good history are good, so the first bad one is found by halving. */
function shortestBadPrefix<State, Input>(
  operations: readonly Operation<Input>[],
  model: Model<State, Input>,
): readonly Operation<Input>[] {
  const ends = operations.flatMap(({ output, end }) => (output === undefined ? [] : [end])).sort((a, b) => a - b);
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isLinearizable(prefixOf(operations, ends[middle] ?? 0), model)) low = middle + 1;
    else high = middle;
  }
  return prefixOf(operations, ends[low] ?? 0);
}

/** A good history stays good without an operation that changed nothing; so one that stays bad says the same. */
function withoutNeutral<State, Input>(
  operations: readonly Operation<Input>[],
  model: Model<State, Input>,
): readonly Operation<Input>[] {
  const isNeutral = ({ input, output }: Operation<Input>) =>
    output === undefined ? model.isNeutral(input, "") : model.isNeutral(input, output);
  let kept = operations;
  for (const operation of operations.filter(isNeutral)) {
    const without = kept.filter((other) => other !== operation);
    if (!isLinearizable(without, model)) kept = without;
  }
  return kept;
}

function lastAnswered<Input>(operations: readonly Operation<Input>[]): Operation<Input> | undefined {
  return operations
    .filter(({ output }) => output !== undefined)
    .reduce<Operation<Input> | undefined>((last, next) => (last && last.end > next.end ? last : next), undefined);
}

interface Beginning<State, Input> {
  readonly starts: readonly State[];
  readonly rest: readonly Operation<Input>[];
}

/**
 * What came after the last moment at which no answer was awaited, and the states that the register may have had then.
 * Operations of unknown outcome that may still be under way stay in the rest.
 */
function fromLastPause<State, Input>(
  operations: readonly Operation<Input>[],
  last: Operation<Input> | undefined,
  model: Model<State, Input>,
): Beginning<State, Input> {
  for (const time of pauses(operations).filter((pause) => pause <= (last?.begin ?? 0))) {
    const past = operations.filter(({ begin }) => begin < time);
    const ends = endsOf(past, model);
    if (ends === undefined) continue;
    const over = (operation: Operation<Input>) => {
      const index = past.indexOf(operation);
      return index >= 0 && (operation.output !== undefined || ends.every(({ has }) => has(index)));
    };
    const states = new Map(ends.map(({ state }) => [model.nameOf(state), state]));
    return { starts: [...states.values()], rest: operations.filter((operation) => !over(operation)) };
  }
  return { starts: [model.initial], rest: operations };
}

/** Undefined when there are too many to tell. */
function endsOf<State, Input>(
  past: readonly Operation<Input>[],
  model: Model<State, Input>,
): readonly Final<State>[] | undefined {
  const ends: Final<State>[] = [];
  for (const final of finals(past, model)) {
    ends.push(final);
    if (ends.length > STARTS_MAX) return undefined;
  }
  return ends;
}

/** Beginnings of operations at which no answer was awaited, the latest first. */
function pauses<Input>(operations: readonly Operation<Input>[]): readonly number[] {
  const answered = operations.filter(({ output }) => output !== undefined);
  return operations
    .map(({ begin }) => begin)
    .filter((time) => !answered.some(({ begin, end }) => begin < time && end >= time))
    .sort((a, b) => b - a);
}
