// Addresses of peers as options give them: "host:port", "[v6]:port", or a socket's path.
import { CofferError, messageOf } from "#common/errors.ts";

export type PeerAddress = { readonly host: string; readonly port: number } | { readonly path: string };
export type NetworkAddress = Extract<PeerAddress, { port: number }>;

const PORT_MAX = 65_535;

/** Throws `invalid_request` for what is no address. */
export function parseNetworkAddress(text: string): NetworkAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port > 0 && port <= PORT_MAX))
    throw new CofferError("invalid_request", `address must be host:port, not ${JSON.stringify(text)}`);
  return { host, port };
}

/** The error of a device that cannot be reached when it is enabled. */
export function unreachable(address: string, cause: unknown): CofferError {
  const message = `sanity check failed; unable to connect to ${address}: ${messageOf(cause)}`;
  return new CofferError("invalid_request", message, { cause });
}
