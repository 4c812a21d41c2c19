// sys/monitor: the log of this node as it is written. Here is only what is wanted of it; sending is the HTTP edge's.
import { CofferError } from "#common/errors.ts";
import { isAtLeast, isLogLevel, LOG_LEVELS, type LogLevel } from "#common/log.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { SysServices } from "./services.ts";

/** Names of severities that clients know besides ours. */
const LEVEL_ALIASES: ReadonlyMap<string, LogLevel> = new Map([
  ["trace", "debug"],
  ["notice", "info"],
  ["warning", "warn"],
  ["err", "error"],
]);

export function monitorPaths({ log }: Pick<SysServices, "log">) {
  return [
    definePrivilegedPath("monitor", {
      summary: "The log of this node as it is written.",
      description:
        "Lines in chunks, until the client goes, the token ends or the server stops. What the node logs itself by its " +
        "configuration does not limit what is sent. Who reads too slowly is cut off.",
      access: "sudo",
      fields: {
        log_level: withDefault(field.lowerText(`The least severity: one of ${LOG_LEVELS.join(", ")}.`), "info"),
        log_format: withDefault(field.lowerText("standard for people, json for machines."), "standard"),
      },
      operations: {
        read: {
          summary: "Follow it.",
          handler: (_context, { log_level: level, log_format: format }) => {
            const least = levelOf(level);
            if (format !== "standard" && format !== "json")
              throw new CofferError("invalid_request", "unknown log_format; use standard or json");
            log.taps.assertRoom();
            const wants = (given: LogLevel) => isAtLeast(given, least);
            return { monitor: { wants, format: format === "json" ? "json" : "text" } };
          },
        },
      },
    }),
  ];
}

function levelOf(text: string): LogLevel {
  const known = LEVEL_ALIASES.get(text) ?? text;
  if (!isLogLevel(known))
    throw new CofferError("invalid_request", `unknown log_level; use one of ${LOG_LEVELS.join(", ")}`);
  return known;
}
