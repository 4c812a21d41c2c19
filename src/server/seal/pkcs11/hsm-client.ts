// The server's end of the process that talks to the HSM: starts it when it is needed, gives each question a deadline, and
// starts a new one when the old one hung or died. Holds no PIN longer than a login takes, but remembers which one was
// refused: tokens lock after a few wrong ones, and a server retries for ever.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { type Clock, within } from "#common/clock.ts";
import { SealError } from "../seal.ts";
import type { Pkcs11Config } from "./config.ts";
import type { HsmAnswer, HsmRequest, Question, Reply } from "./hsm-messages.ts";

type Answer<K extends HsmAnswer["kind"]> = Extract<HsmAnswer, { kind: K }>;

/** How a new process begins: argv is public, so it says where the code is and nothing else. */
const PROGRAM = "import(process.argv[1]).then(({ runHsmProcess }) => runHsmProcess())";

interface Waiting {
  readonly child: ChildProcess;
  resolve(answer: HsmAnswer): void;
}

export class HsmClient {
  readonly #config: Pkcs11Config;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #process: Promise<ChildProcess> | undefined;
  #refused: { readonly pin: string; readonly error: SealError } | undefined;
  constructor(config: Pkcs11Config, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
  }

  /** Asks; throws SealError. `signal` gives up waiting. */
  async ask<K extends "described" | "wrapped" | "unwrapped">(
    request: HsmRequest,
    wanted: K,
    signal?: AbortSignal,
  ): Promise<Answer<K>> {
    const answer = await this.#within(async () => this.#send(await this.#opened(), request), signal);
    if (isA(answer, wanted)) return answer;
    throw answer.kind === "failed" ? this.#errorOf(answer) : new Error(`the HSM's process answered ${answer.kind}`);
  }

  /** Ends the process; a later question starts another. */
  async close(): Promise<void> {
    const running = await this.#process?.catch(() => undefined);
    this.#process = undefined;
    running?.disconnect();
  }

  #errorOf({ fault, message, transient }: Answer<"failed">): SealError {
    return new SealError(fault, `seal ${this.#config.name}: ${message}`, { transient });
  }

  async #opened(): Promise<ChildProcess> {
    this.#process ??= this.#open().catch((error: unknown) => {
      this.#process = undefined;
      throw error;
    });
    return this.#process;
  }

  async #open(): Promise<ChildProcess> {
    const { library, token, keyLabel, keyId, hmacKeyLabel, scheme, generateKey } = this.#config;
    const pin = await this.#config.readPin();
    if (this.#refused?.pin === digest(pin)) throw this.#refused.error;
    const child = await this.#start();
    const settings = { library, token, pin, keyLabel, keyId, hmacKeyLabel, scheme, generateKey };
    const answer = await this.#send(child, { kind: "open", settings });
    if (answer.kind === "opened") return child;
    child.disconnect();
    const error = answer.kind === "failed" ? this.#errorOf(answer) : new Error(`unexpected answer ${answer.kind}`);
    if (error instanceof SealError && error.fault === "CredentialsInvalid") this.#refused = { pin: digest(pin), error };
    throw error;
  }

  async #start(): Promise<ChildProcess> {
    const { HSM_PROCESS_URL } = await import("./hsm-process.ts");
    const child = spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM, HSM_PROCESS_URL], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    child.on("message", (reply: Reply) => this.#waiting.get(reply.id)?.resolve(reply.answer));
    child.once("exit", (code, killedBy) => this.#ended(child, killedBy ?? `code ${code}`));
    child.on("error", (error) => this.#ended(child, error.message));
    child.unref();
    child.channel?.unref();
    return child;
  }

  #ended(child: ChildProcess, how: string): void {
    const message = `the process that talks to the HSM ended (${how}); it is started again with the next try`;
    for (const asked of this.#waiting.values())
      if (asked.child === child) asked.resolve({ kind: "failed", fault: "Unreachable", message, transient: true });
    void this.#process?.then(
      (current) => {
        if (current === child) this.#process = undefined;
      },
      () => {},
    );
  }

  #send(child: ChildProcess, request: HsmRequest): Promise<HsmAnswer> {
    const id = ++this.#lastId;
    return new Promise<HsmAnswer>((resolve) => {
      this.#waiting.set(id, { child, resolve });
      const question: Question = { id, request };
      child.send(question, (error) => {
        if (error) this.#ended(child, error.message);
      });
    }).finally(() => this.#waiting.delete(id));
  }

  /** Ends the process when it does not answer in time: a call that hangs in the library never ends by itself. */
  async #within(work: () => Promise<HsmAnswer>, signal: AbortSignal | undefined): Promise<HsmAnswer> {
    const { name, timeoutMillis } = this.#config;
    const answer = await Promise.race([within(this.#clock, timeoutMillis, work()), aborted(signal)]);
    if (answer === "aborted")
      throw new SealError("Unreachable", `seal ${name}: given up before the HSM answered`, { transient: true });
    if (answer !== "late") return answer;
    const hung = await this.#process?.catch(() => undefined);
    this.#process = undefined;
    hung?.kill("SIGKILL");
    throw new SealError("Unreachable", `seal ${name}: the HSM did not answer within ${timeoutMillis} ms`, {
      transient: true,
    });
  }
}

function isA<K extends HsmAnswer["kind"]>(answer: HsmAnswer, kind: K): answer is Answer<K> {
  return answer.kind === kind;
}

function aborted(signal: AbortSignal | undefined): Promise<"aborted"> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve("aborted");
    else signal?.addEventListener("abort", () => resolve("aborted"), { once: true });
  });
}

function digest(pin: string): string {
  return createHash("sha256").update(pin).digest("base64");
}
