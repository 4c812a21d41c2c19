// One HTTP exchange with the API: decode, let the core serve, send. Every answer has the headers that clients and
// caches rely on.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CofferError, messageOf } from "#common/errors.ts";
import { methodOf } from "#common/http/list-method.ts";
import type { Log } from "#common/log.ts";
import type { CrossOriginRules } from "../core/cross-origin.ts";
import { encodeError } from "../core/encode.ts";
import type { Answer, Request } from "../core/request.ts";
import { cleanPath } from "./clean-path.ts";
import { type CrossOriginVerdict, judgeOrigin } from "./cross-origin.ts";
import type { Deadlines } from "./deadlines.ts";
import { decodeRequest } from "./decode-request.ts";
import type { LineStreams } from "./line-streams.ts";

export interface ApiHandlerOptions {
  readonly serve: (request: Request) => Promise<Answer>;
  /** Undefined while cross-origin requests are not configured. */
  readonly crossOrigin: () => Promise<CrossOriginRules | undefined>;
  readonly log: Log;
  readonly bodyBytesMax: number;
  /** Paths whose bodies are streams, without a limit of size or time. */
  readonly takesStream?: ((path: string) => boolean) | undefined;
  readonly deadlines: Deadlines;
  readonly lineStreams: LineStreams;
  readonly requireRequestHeader: boolean;
  readonly isTls: boolean;
  /** The client's address behind proxies that the listener believes. */
  readonly clientAddress: (message: IncomingMessage) => string;
}

/** Handles a request whose path begins with "/v1/". Never rejects. */
export async function handleApi(
  message: IncomingMessage,
  response: ServerResponse,
  options: ApiHandlerOptions,
): Promise<void> {
  const clean = cleanPath(message.url ?? "/");
  if (clean === undefined) await new Exchange(message, response, options).run();
  else response.writeHead(307, { Location: clean, "Cache-Control": "no-store" }).end();
}

/** One request until its answer, whichever of handler and deadline gives it first. */
class Exchange {
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #options: ApiHandlerOptions;
  #isRead = false;
  #isAnswered = false;
  #isStreamed = false;
  #origin: CrossOriginVerdict | undefined;
  constructor(message: IncomingMessage, response: ServerResponse, options: ApiHandlerOptions) {
    this.#message = message;
    this.#response = response;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { deadlines } = this.#options;
    const deadline = deadlines.begin(() => this.#send(this.#refusal(this.#lateness())));
    this.#send(await this.#answer(() => deadlines.end(deadline)));
    deadlines.end(deadline);
  }

  /** `goOn`: takes as long as it takes. */
  async #answer(goOn: () => void): Promise<Answer> {
    const message = this.#message;
    const { serve, bodyBytesMax, takesStream, clientAddress, crossOrigin } = this.#options;
    try {
      this.#origin = await judgeOrigin(message, methodOf(message), crossOrigin);
      if (this.#origin?.isPreflight) return { status: 200, contentType: "application/json", body: undefined };
      if (this.#options.requireRequestHeader) assertRequestHeader(message);
      const target = (message.url ?? "").slice("/v1/".length);
      const onRead = () => {
        this.#isRead = true;
      };
      const request = await decodeRequest(message, target, {
        bodyBytesMax,
        takesStream,
        remoteAddress: clientAddress(message),
        onRead,
      });
      this.#isStreamed = request.bodyStream !== undefined;
      if (this.#isStreamed) goOn();
      if (message.method === "HEAD" && request.path !== "sys/health")
        throw new CofferError("unsupported_operation", "");
      return await serve(request);
    } catch (error) {
      return this.#refusal(error);
    }
  }

  #refusal(error: unknown): Answer {
    // A client that went away while it was sending is no fault of ours.
    const seen = this.#message.destroyed && !this.#message.complete ? new CofferError("timeout", "") : error;
    return encodeError(seen, { id: "", path: "" }, this.#options.log);
  }

  #lateness(): CofferError {
    return this.#isRead
      ? new CofferError("unavailable", "the request took too long; whether it had an effect is not known")
      : new CofferError("timeout", "the request's body did not arrive in time");
  }

  #send(answer: Answer): void {
    const message = this.#message;
    const response = this.#response;
    if (this.#isAnswered || response.destroyed) {
      answer.lines?.close();
      answer.bytes?.destroy();
      return;
    }
    this.#isAnswered = true;
    const namespace = message.headers["x-vault-namespace"];
    response.writeHead(answer.status, {
      "Cache-Control": "no-store",
      "Content-Type": answer.contentType,
      ...(answer.body !== undefined && { "Content-Length": Buffer.byteLength(answer.body) }),
      ...(this.#options.isTls && { "Strict-Transport-Security": "max-age=31536000; includeSubDomains" }),
      ...(typeof namespace === "string" && { "X-Vault-Namespace": namespace }),
      // The rest of a body that was refused unread would be taken for the next request.
      ...(this.#isUnread(answer) && { Connection: "close" }),
      ...this.#origin?.headers,
      ...answer.headers,
    });
    if (answer.lines) void this.#options.lineStreams.send(response, answer.lines);
    else if (answer.bytes) void this.#sendBytes(answer.bytes);
    else response.end(message.method === "HEAD" ? undefined : answer.body);
  }

  #isUnread({ status }: Answer): boolean {
    if (this.#message.complete) return false;
    return status === 408 || status === 413 || this.#isStreamed;
  }

  /** As fast as the client reads. What fails midway cuts the connection, so that nobody takes it for whole. */
  async #sendBytes(bytes: Readable): Promise<void> {
    try {
      await pipeline(bytes, this.#response);
    } catch (error) {
      this.#options.log.warn("an answer was not sent to its end", { error: messageOf(error) });
      this.#response.destroy();
    }
  }
}

/** Throws `precondition_failed` without the header that no web page of another origin can send unasked. */
export function assertRequestHeader(message: IncomingMessage): void {
  if (message.headers["x-vault-request"] !== "true")
    throw new CofferError("precondition_failed", "the header X-Vault-Request: true is missing; send it");
}
