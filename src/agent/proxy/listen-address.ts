// Where a listener listens, read from its text. Apart from the listeners, whose code only agents with a proxy load.
import { CofferError } from "#common/errors.ts";

/** "127.0.0.1:8200", "[::1]:8200". Throws `invalid_request`. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const found = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(address);
  const port = Number(found?.[3]);
  if (found === null || port > 65_535) {
    throw new CofferError("invalid_request", `the listener's address "${address}" must be as 127.0.0.1:8200`);
  }
  return { host: found[1] ?? found[2] ?? "", port };
}

/** Whether nobody but the pod (or machine) itself can reach it. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$/.test(host);
}
