// A request as the core sees it, after the HTTP edge has decoded it and before anything is known of mounts or tokens.
import type { Readable } from "node:stream";
import type { JsonObject } from "#common/json.ts";
import type { BodyStream, OpenForm, Operation } from "../framework/context.ts";
import type { Page } from "../storage/storage.ts";
import type { EventStream } from "./event-stream.ts";
import type { LogStream } from "./log-stream.ts";

export interface Request {
  readonly id: string;
  /** "update" for every POST and PUT; whether it is a create is decided by the path's existence check. */
  readonly operation: Operation;
  /** Without "/v1/" and without a leading slash. */
  readonly path: string;
  /** As sent, trimmed of slashes; "" is the root namespace. */
  readonly namespace: string;
  readonly clientToken: string;
  /** The request's headers by their names in lower case, for those that are audited. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Body; for reads, lists and deletes the query. */
  readonly data: JsonObject;
  readonly query: JsonObject;
  readonly wrapTtlSeconds: number | undefined;
  /** The form of a wrapping token; the ordinary one without. */
  readonly wrapFormat?: "jwt" | undefined;
  /** Instead of `data`, on paths that take a stream. */
  readonly bodyStream?: BodyStream | undefined;
  /** What the client wants to go on with over the same connection. */
  readonly upgrade?: "websocket" | undefined;
  /** What the listener that it came by takes without a token. */
  readonly openForms?: readonly OpenForm[];
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly page: Page;
}

/** What the HTTP edge sends. */
export interface Answer {
  readonly status: number;
  /** Undefined: no body. */
  readonly body: string | Uint8Array | undefined;
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** With status 101: what is sent from now on. Whoever gets it must close it. */
  readonly stream?: EventStream;
  /** With status 200, instead of a body: bytes that are sent as they come. Whoever gets it must destroy it. */
  readonly bytes?: Readable;
  /** With status 200, instead of a body: lines that are sent as they come. Whoever gets it must close it. */
  readonly lines?: LogStream;
}
