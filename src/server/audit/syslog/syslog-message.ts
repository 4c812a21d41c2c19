// One audit line as a syslog message: RFC 5424 for the network, the older form for this machine's own daemon.
import { hostname } from "node:os";
import { CofferError } from "#common/errors.ts";

/** RFC 5424 table 1, in the order of the numbers. */
const FACILITIES = [
  ...["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"],
  ...["ntp", "security", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6"],
  "local7",
];
/** Informational. */
const SEVERITY = 6;
/** RFC 5424 §6: APP-NAME is at most 48 printable characters. */
const TAG = /^[!-~]{1,48}$/;
/** Around a line: priority, time, a host name of 255, tag, process. */
export const HEADER_BYTES_MAX = 400;

export interface SyslogFormat {
  readonly facility: string;
  readonly priority: number;
  readonly tag: string;
}

/** Throws `invalid_request` naming the option. */
export function syslogFormat(facility = "auth", tag = "coffer"): SyslogFormat {
  const number = FACILITIES.indexOf(facility.toLowerCase());
  if (number < 0)
    throw new CofferError("invalid_request", `facility must be one of ${FACILITIES.join(", ")}, not "${facility}"`);
  if (!TAG.test(tag))
    throw new CofferError("invalid_request", "tag must be 1 to 48 printable characters without a space");
  return { facility: facility.toLowerCase(), priority: number * 8 + SEVERITY, tag };
}

/** RFC 5424 §6. */
export function networkMessage({ priority, tag }: SyslogFormat, timeMillis: number, line: string): string {
  return `<${priority}>1 ${new Date(timeMillis).toISOString()} ${hostname() || "-"} ${tag} ${process.pid} - - ${line}`;
}

/** RFC 6587 §3.4.1: octet counting, which any content survives. */
export function counted(message: string): string {
  return `${Buffer.byteLength(message)} ${message}`;
}

/** As libc's syslog() writes to the local socket (RFC 3164 §4.1 without the host). */
export function localMessage({ priority, tag }: SyslogFormat, timeMillis: number, line: string): string {
  const [, day = "", month = "", , time = ""] = new Date(timeMillis).toUTCString().split(" ");
  return `<${priority}>${month} ${day.replace(/^0/, " ")} ${time} ${tag}[${process.pid}]: ${line}`;
}
