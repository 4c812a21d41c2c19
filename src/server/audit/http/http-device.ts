// Audit lines by HTTP POST: a body of lines (newline-delimited JSON), as many as wait. Any 2xx answer is acceptance, so
// this device, unlike a socket, knows that the lines have arrived.
import { readFile } from "node:fs/promises";
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import type { AuditDevice, AuditDeviceType, DeviceOptions } from "../audit-device.ts";
import { unreachable } from "../transport/peer-address.ts";

const CONTENT_TYPE = "application/x-ndjson";
/** A token of a header's name: RFC 9110 §5.6.2. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~\w-]{1,100}$/;

export const httpAuditDevice: AuditDeviceType = {
  type: "http",
  options: {
    uri: "Where to POST the lines: http:// or https://.",
    headers: "Headers of every request, a JSON object; whoever may read sys/audit sees them.",
    ca_file: "Authorities for the server's certificate, PEM; the system's by default. Read at each new connection.",
  },
  make(options) {
    return new HttpDevice(parseUri(options["uri"]), parseHeaders(options), options["ca_file"]);
  },
};

function parseUri(text: string | undefined): URL {
  if (!text) throw new CofferError("invalid_request", "uri is required");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol))
    throw new CofferError("invalid_request", "uri must begin with http:// or https://");
  if (url.username !== "" || url.password !== "")
    throw new CofferError("invalid_request", "uri must not hold a password; use headers");
  return url;
}

function parseHeaders({ headers }: DeviceOptions): Readonly<Record<string, string>> {
  if (!headers) return {};
  const parsed = parseJson(headers);
  if (!isJsonObject(parsed)) throw new CofferError("invalid_request", "headers must be a JSON object of texts");
  return Object.fromEntries(
    Object.entries(parsed).map(([name, value]) => {
      if (!HEADER_NAME.test(name) || typeof value !== "string" || /[^\t\x20-\x7e]/.test(value))
        throw new CofferError("invalid_request", `headers: ${JSON.stringify(name)} is no header with a text`);
      return [name, value];
    }),
  );
}

class HttpDevice implements AuditDevice {
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #caFile: string | undefined;
  #agent: HttpAgent | undefined;
  constructor(url: URL, headers: Readonly<Record<string, string>>, caFile: string | undefined) {
    this.#url = url;
    this.#headers = headers;
    this.#caFile = caFile;
  }

  /** An empty POST: what a receiver of lines accepts as no line. */
  async probe(signal: AbortSignal): Promise<void> {
    try {
      await this.#post("", signal);
    } catch (cause) {
      throw unreachable(this.#url.origin, cause);
    }
  }

  write(lines: readonly string[], signal: AbortSignal): Promise<void> {
    return this.#post(`${lines.join("\n")}\n`, signal);
  }

  async #post(body: string, signal: AbortSignal): Promise<void> {
    try {
      const status = await this.#status(body, signal);
      if (status < 200 || status > 299) throw new Error(`the audit server answered with status ${status}`);
    } catch (error) {
      await this.close(); // a new connection reads the authorities anew
      throw error;
    }
  }

  async #status(body: string, signal: AbortSignal, isRepeat = false): Promise<number> {
    this.#agent ??= await this.#newAgent();
    const send = this.#url.protocol === "https:" ? httpsRequest : httpRequest;
    const length = Buffer.byteLength(body);
    const headers = { ...this.#headers, "Content-Type": CONTENT_TYPE, "Content-Length": length };
    const request = send(this.#url, { method: "POST", headers, agent: this.#agent, signal });
    request.end(body);
    let response: IncomingMessage;
    try {
      response = await answerOf(request);
    } catch (error) {
      // The server closed the connection while it was idle, which is nobody's fault.
      if (!request.reusedSocket || isRepeat || signal.aborted) throw error;
      return this.#status(body, signal, true);
    }
    response.resume();
    await new Promise<void>((resolve, reject) => {
      response.once("end", resolve);
      response.once("error", reject);
      response.once("close", () => reject(new Error("the audit server's answer was cut off")));
    });
    return response.statusCode ?? 0;
  }

  async #newAgent(): Promise<HttpAgent> {
    const shared = { keepAlive: true, maxSockets: 1 };
    if (this.#url.protocol === "http:") return new HttpAgent(shared);
    if (this.#caFile === undefined) return new HttpsAgent(shared);
    try {
      return new HttpsAgent({ ...shared, ca: await readFile(this.#caFile) });
    } catch (cause) {
      throw new CofferError("invalid_request", `ca_file: ${messageOf(cause)}`, { cause });
    }
  }

  async close(): Promise<void> {
    this.#agent?.destroy();
    this.#agent = undefined;
  }
}

function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
}
