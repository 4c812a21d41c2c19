// Files of environment variables, purely. Three formats:
//   FileKeyRef       lines NAME='literal' as kubelet reads them for env[].valueFrom.fileKeyRef: no escapes, newlines
//                    allowed, so a value with a single quote cannot be written (Kubernetes 1.35+).
//   FileKeyRefPlain  lines NAME=value as the kubelet of 1.34 reads them (kubelet/util/env): quotes are part of the value,
//                    space around it is not, a backslash at its end joins lines, and a line has 64 KiB at most.
//   Nul              records NAME=value, each ended by a NUL byte, for the static helper.
import { CofferError } from "#common/errors.ts";
import type { EnvironmentConfig } from "./config.ts";
import type { SourceResults } from "./sources.ts";
import { textOfKey } from "./values.ts";

const RECORDS: Readonly<Record<EnvironmentConfig["format"], (name: string, value: string, source: string) => string>> =
  { FileKeyRef: quotedLine, FileKeyRefPlain: plainLine, Nul: nulRecord };
const PLAIN_LIMIT = "which fileKeyRef of Kubernetes 1.34 cannot hold; deliver it as a file or by envMethod Helper";
/** Go's bufio.Scanner gives up at 64 KiB, the line's end included. */
const PLAIN_LINE_BYTES_MAX = 64 * 1024 - 1;

/** The file's content. Variables of sources that are optional and absent are left out. Throws naming the variable. */
export function renderEnvironment(environment: EnvironmentConfig, results: SourceResults): string {
  let content = "";
  for (const { name, source, key } of environment.variables) {
    const result = results.get(source);
    if (result?.kind !== "data") continue;
    const value = textOfKey(result.data, key, source);
    content += RECORDS[environment.format](name, value, source);
  }
  return content;
}

function nulRecord(name: string, value: string, source: string): string {
  if (value.includes("\0")) throw unwritable(name, source, "a NUL byte, which no environment variable can hold");
  return `${name}=${value}\0`;
}

function quotedLine(name: string, value: string, source: string): string {
  if (value.includes("\0")) throw unwritable(name, source, "a NUL byte, which no environment variable can hold");
  if (value.includes("'")) {
    throw unwritable(name, source, "a single quote, which fileKeyRef cannot hold; deliver it as a file");
  }
  return `${name}='${value}'\n`;
}

function plainLine(name: string, value: string, source: string): string {
  if (/[\0\r\n]/.test(value)) throw unwritable(name, source, `a line break or a NUL byte, ${PLAIN_LIMIT}`);
  if (value.trim() !== value) throw unwritable(name, source, `space at its beginning or end, ${PLAIN_LIMIT}`);
  if (value.endsWith("\\")) throw unwritable(name, source, `a backslash at its end, ${PLAIN_LIMIT}`);
  const line = `${name}=${value}`;
  if (Buffer.byteLength(line) >= PLAIN_LINE_BYTES_MAX) throw unwritable(name, source, `64 KiB or more, ${PLAIN_LIMIT}`);
  return `${line}\n`;
}

function unwritable(name: string, source: string, what: string): CofferError {
  return new CofferError("invalid_request", `the value for ${name} from source "${source}" has ${what}`);
}
