// Clients that read, write, check-and-set, delete and purge KV secrets through any node and write down what they were
// told. An answer that says "not done" is believed: if it was done all the same, the history shows it.
import { systemClock } from "#common/clock.ts";
import { type Answer, at } from "#test/kit/client.ts";
import type { Endpoint } from "#test/kit/endpoint.ts";
import type { Operation } from "#test/kit/linearizability/operation.ts";
import {
  DONE,
  found,
  MISMATCH,
  NOTHING_FOUND,
  type RegisterInput,
  written,
} from "#test/kit/linearizability/register.ts";
import type { SeededRandom } from "#test/kit/seeded-random.ts";

export type Step = Operation<RegisterInput>;
export interface Recording {
  readonly history: Step[];
  /** Answers that no server may give, whatever happens to it. */
  readonly wrong: string[];
  /** How often which failure was told. */
  readonly failures: Map<string, number>;
  /** What was told not to be done, to look at when it was done all the same. */
  readonly refused: (Pick<Step, "client" | "key" | "input" | "begin" | "end"> & { readonly told: string })[];
}

/** Keys that are in use at the same time. */
const SLOTS = 4;
/** Operations on a key until another takes its place, so that no history grows long. */
const OPERATIONS_OF_KEY = 200;
const PAUSE_MILLIS_MAX = 8;
/** A node that is down answers at once; asking it all the time would keep the others from work. */
const FAILED_PAUSE_MILLIS = 30;
/** Said of a write that may have been done. */
const UNKNOWN_WORDS = /may or may not|not known/;

export class Clients {
  readonly recording: Recording = { history: [], wrong: [], failures: new Map(), refused: [] };
  readonly #endpoints: readonly Endpoint[];
  readonly #random: SeededRandom;
  readonly #begun: number[] = Array.from({ length: SLOTS }, () => 0);
  /** The version that a key was last seen at, for check-and-sets that have a chance. */
  readonly #versions = new Map<string, number>();
  #values = 0;

  constructor(endpoints: readonly Endpoint[], random: SeededRandom) {
    this.#endpoints = endpoints;
    this.#random = random;
  }

  /** Lets so many clients work until the signal aborts. */
  async work(count: number, signal: AbortSignal): Promise<void> {
    await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        while (!signal.aborted) {
          await this.#perform(`client ${i}`, this.#random.pick(this.#endpoints), this.#key(), undefined);
          await systemClock.sleep(this.#random.integer(0, PAUSE_MILLIS_MAX));
        }
      }),
    );
  }

  /** Reads every key through every node, so that what was lost in the end shows. */
  async readAll(): Promise<void> {
    const keys = new Set(this.recording.history.map(({ key }) => key));
    for (const endpoint of this.#endpoints)
      for (const key of keys) await this.#perform("reader", endpoint, key, { op: "read" });
  }

  #key(): string {
    const slot = this.#random.integer(0, SLOTS);
    const begun = this.#begun[slot] ?? 0;
    this.#begun[slot] = begun + 1;
    return `r${slot}-${Math.floor(begun / OPERATIONS_OF_KEY)}`;
  }

  #input(key: string): RegisterInput {
    const chance = this.#random.next();
    if (chance < 0.45) return { op: "read" };
    if (chance < 0.55) return { op: "delete" };
    if (chance < 0.58) return { op: "purge" };
    const value = `x${this.#values++}`;
    if (chance < 0.75) return { op: "write", value };
    return { op: "cas", version: this.#versions.get(key) ?? 0, value };
  }

  async #perform(client: string, endpoint: Endpoint, key: string, given: RegisterInput | undefined): Promise<void> {
    const input = given ?? this.#input(key);
    const begin = performance.now();
    const answer = await ask(endpoint, key, input);
    const end = performance.now();
    const outcome = outcomeOf(input, answer);
    if (outcome.kind === "wrong")
      this.recording.wrong.push(`${endpoint.name} ${JSON.stringify(input)}: ${outcome.text}`);
    const step = { client: `${client} at ${endpoint.name}`, key, input, begin, end };
    if (outcome.kind === "failed" || outcome.kind === "unknown") this.#count(outcome.text);
    if (outcome.kind === "failed" && input.op !== "read") this.recording.refused.push({ ...step, told: outcome.text });
    if (outcome.kind === "failed") await systemClock.sleep(FAILED_PAUSE_MILLIS);
    if (outcome.kind === "failed" || outcome.kind === "wrong") return;
    const version = outcome.kind === "done" ? /^v(\d+)/.exec(outcome.output)?.[1] : undefined;
    if (version !== undefined) this.#versions.set(key, Number(version));
    const known = outcome.kind === "done";
    this.recording.history.push({
      ...step,
      output: known ? outcome.output : undefined,
      end: known ? end : Infinity,
    });
  }

  #count(failure: string): void {
    this.recording.failures.set(failure, (this.recording.failures.get(failure) ?? 0) + 1);
  }
}

function ask(endpoint: Endpoint, key: string, input: RegisterInput): Promise<Answer | "refused" | "lost"> {
  const path = `kv/data/${key}`;
  switch (input.op) {
    case "read":
      return endpoint.send("GET", path);
    case "write":
      return endpoint.send("POST", path, { data: { value: input.value } });
    case "cas":
      return endpoint.send("POST", path, { data: { value: input.value }, options: { cas: input.version } });
    case "delete":
      return endpoint.send("DELETE", path);
    case "purge":
      return endpoint.send("DELETE", `kv/metadata/${key}`);
  }
}

type Outcome =
  | { readonly kind: "done"; readonly output: string }
  | { readonly kind: "failed" | "unknown" | "wrong"; readonly text: string };

function outcomeOf(input: RegisterInput, answer: Answer | "refused" | "lost"): Outcome {
  const isRead = input.op === "read";
  if (answer === "refused") return { kind: "failed", text: "no connection" };
  if (answer === "lost") return { kind: isRead ? "failed" : "unknown", text: "no answer" };
  const { status, body } = answer;
  const errors = JSON.stringify(body["errors"] ?? []);
  if (status === 503) {
    const unknown = !isRead && UNKNOWN_WORDS.test(errors);
    return { kind: unknown ? "unknown" : "failed", text: `503 ${errors.slice(0, 160)}` };
  }
  const output = isRead ? readOutput(answer) : writeOutput(input, answer);
  return output === undefined ? { kind: "wrong", text: `${status} ${JSON.stringify(body)}` } : { kind: "done", output };
}

function readOutput({ status, body }: Answer): string | undefined {
  const version = Number(at(body, "data", "metadata", "version") ?? 0);
  if (status === 404 && version === 0) return NOTHING_FOUND;
  if (status === 404) return found({ version, value: undefined });
  return status === 200 ? found({ version, value: String(at(body, "data", "data", "value")) }) : undefined;
}

function writeOutput({ op }: RegisterInput, { status, body }: Answer): string | undefined {
  if (op === "delete" || op === "purge") return status === 204 ? DONE : undefined;
  if (status === 200) return written(Number(at(body, "data", "version")));
  const isMismatch = status === 400 && JSON.stringify(body).includes("did not match the current version");
  return op === "cas" && isMismatch ? MISMATCH : undefined;
}
