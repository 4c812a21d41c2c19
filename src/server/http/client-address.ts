// Who a request comes from. X-Forwarded-For counts only from proxies that the listener names; from anybody else it is
// a claim.
import type { IncomingMessage } from "node:http";
import { isWithin } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import type { ForwardedForConfig } from "../config/listener-config.ts";

export function clientAddressOf(message: IncomingMessage, config: ForwardedForConfig | undefined): string {
  const peer = (message.socket.remoteAddress ?? "").replace(/^::ffff:/, "");
  if (!config) return peer;
  const header = message.headers["x-forwarded-for"];
  const isAuthorized = isWithin(config.authorizedAddresses, peer);
  if (header === undefined) {
    if (config.rejectNotPresent && isAuthorized)
      throw new CofferError("invalid_request", "missing x-forwarded-for header");
    return peer;
  }
  if (!isAuthorized) {
    if (config.rejectNotAuthorized)
      throw new CofferError("invalid_request", "client address not authorized for x-forwarded-for");
    return peer;
  }
  const hops = String(header)
    .split(",")
    .map((hop) => hop.trim());
  return hops[hops.length - 1 - config.hopSkips] ?? peer;
}
