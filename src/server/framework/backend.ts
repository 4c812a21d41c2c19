// A backend: a named set of paths behind a mount. An engine or an auth method is a function from its mount's options
// to one of these, and one line in a registry.
import type { Clock } from "#common/clock.ts";
import type { Log } from "#common/log.ts";
import type { Context } from "./context.ts";
import type { Path } from "./path.ts";

export interface Backend<C = Context> {
  readonly type: string;
  readonly summary: string;
  /** In order of precedence: the first whose pattern matches answers. */
  readonly paths: readonly Path<C>[];
  /** Prefixes of its storage that hold keys: what seal wrap covers. */
  readonly sealWrapped?: readonly string[];
}

/** What the host lends to a backend that needs the world outside. */
export interface BackendHost {
  readonly clock: Clock;
  readonly log: Log;
  /** Reads a small local file (a ServiceAccount's token); throws when there is none. */
  readFile(path: string): Promise<string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A registry's line: how a mount of this type becomes a backend. */
export interface BackendType {
  readonly type: string;
  /** Options such as KV's version; throws `invalid_request` when they make no sense. */
  create(options: Readonly<Record<string, string>>, host: BackendHost): Backend;
}
