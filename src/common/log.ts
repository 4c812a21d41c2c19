// Structured logs, one JSON object a line. Callers pass facts as fields; secrets never come here.
import { LogTaps } from "./log-tap.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFormat = "json" | "text";
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log that adds the given fields to every line. */
  with(fields: LogFields): Log;
  /** The least severity that is written, shared by all logs that `with` made. */
  readonly threshold: LogThreshold;
  /** Who reads along, shared in the same way. */
  readonly taps: LogTaps;
}

/** A least severity that may change while the program runs. */
export class LogThreshold {
  readonly #initial: LogLevel;
  level: LogLevel;
  constructor(initial: LogLevel) {
    this.#initial = initial;
    this.level = initial;
  }
  /** Undefined: back to the level of the start. */
  change(level: LogLevel | undefined): void {
    this.level = level ?? this.#initial;
  }
}

export function isLogLevel(text: string): text is LogLevel {
  return LOG_LEVELS.some((level) => level === text);
}

/** Whether a line of `level` is at least as severe as `least`. */
export function isAtLeast(level: LogLevel, least: LogLevel): boolean {
  return RANK[level] >= RANK[least];
}

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** A log that gives each line to `write`, newline included. `format` "text" is for people, "json" for machines. */
export function createLog(options: {
  level: LogLevel | LogThreshold;
  format: LogFormat;
  write: (line: string) => void;
  now: () => number;
  fields?: LogFields;
  taps?: LogTaps;
}): Log {
  const threshold = options.level instanceof LogThreshold ? options.level : new LogThreshold(options.level);
  const taps = options.taps ?? new LogTaps();
  const emit = (level: LogLevel, message: string, fields: LogFields = {}) => {
    const isWritten = isAtLeast(level, threshold.level);
    if (!isWritten && !taps.isRead) return;
    const all = { ...options.fields, ...fields };
    const time = new Date(options.now()).toISOString();
    const render = (format: LogFormat) =>
      format === "json" ? `${JSON.stringify({ time, level, message, ...all })}\n` : textLine(time, level, message, all);
    if (isWritten) options.write(render(options.format));
    taps.offer(level, render);
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    with: (fields) => createLog({ ...options, level: threshold, taps, fields: { ...options.fields, ...fields } }),
    threshold,
    taps,
  };
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const tail = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${typeof value === "string" ? JSON.stringify(value) : value}`],
  );
  return `${[time, level.toUpperCase().padEnd(5), message, ...tail].join(" ")}\n`;
}

/** Says nothing; for tests. */
export const silentLog: Log = createLog({ level: "error", format: "text", write: () => {}, now: () => 0 });
