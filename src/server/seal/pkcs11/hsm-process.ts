// The process that talks to the HSM: holds the library, answers the server's questions over the channel that it inherited,
// and ends with it. Of its own, because a call into a vendor's library blocks, may hang, and may take its process along.
import { explain, isLost } from "./faults.ts";
import type { HsmAnswer, HsmRequest, Question, Reply, TokenSettings } from "./hsm-messages.ts";
import { Token } from "./token.ts";
import { unwrapInToken, wrapInToken } from "./wrapping.ts";

/** Where this module is, for who starts the process. */
export const HSM_PROCESS_URL = import.meta.url;

/** Answers questions until the server is gone. */
export function runHsmProcess(): void {
  const hsm = new Hsm();
  process.on("message", (question: Question) => {
    void hsm.answer(question.request).then((answer) => {
      const reply: Reply = { id: question.id, answer };
      process.send?.(reply, () => wipe(answer));
    });
  });
  process.once("disconnect", () => {
    hsm.close();
    process.exit(0);
  });
  // A terminal's Ctrl-C goes to all processes of its group; the server ends this one when it has no more questions.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
}

class Hsm {
  #settings: TokenSettings | undefined;
  #token: Token | undefined;
  /** One after the other: opening a token twice at once would log in twice. */
  #opening: Promise<void> = Promise.resolve();

  async answer(request: HsmRequest): Promise<HsmAnswer> {
    try {
      return await this.#perform(request);
    } catch (error) {
      const { fault, message, transient } = explain(error, request.kind);
      return { kind: "failed", fault, message, transient };
    } finally {
      if (request.kind === "wrap") request.key.fill(0);
    }
  }

  close(): void {
    this.#token?.close();
    this.#token = undefined;
  }

  async #perform(request: HsmRequest): Promise<HsmAnswer> {
    if (request.kind === "open") {
      this.#settings = request.settings;
      await this.#opened();
      return { kind: "opened" };
    }
    return this.#withToken(async (token) => {
      if (request.kind === "create-key") token.createKeys();
      if (request.kind === "describe" || request.kind === "create-key")
        return { kind: "described", status: token.describe() };
      const binding = Buffer.from(request.binding);
      if (request.kind === "wrap")
        return { kind: "wrapped", ...(await wrapInToken(token, viewOf(request.key), binding)) };
      return {
        kind: "unwrapped",
        key: await unwrapInToken(token, request.keyId, Buffer.from(request.blob), binding),
      };
    });
  }

  /** Runs work, and once more with a new login when the HSM had forgotten us. */
  async #withToken(work: (token: Token) => Promise<HsmAnswer>): Promise<HsmAnswer> {
    const token = await this.#opened();
    try {
      return await work(token);
    } catch (error) {
      if (!isLost(error)) throw error;
    }
    if (this.#token === token) this.close();
    return work(await this.#opened());
  }

  async #opened(): Promise<Token> {
    const opening = this.#opening.then(async () => {
      if (!this.#settings) throw new Error("the first question opens the token");
      this.#token ??= await Token.open(this.#settings);
      return this.#token;
    });
    this.#opening = opening.then(
      () => {},
      () => {},
    );
    return opening;
  }
}

/** The same bytes, not a copy that nobody zeroes. */
function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function wipe(answer: HsmAnswer): void {
  if (answer.kind === "unwrapped") answer.key.fill(0);
}
