// Files of environment variables, purely. Two formats:
//   FileKeyRef  lines NAME='literal' as kubelet reads them for env[].valueFrom.fileKeyRef: no escapes, newlines allowed,
//               so a value with a single quote cannot be written (Kubernetes 1.34+, feature EnvFiles).
//   Nul         records NAME=value, each ended by a NUL byte, for the static helper.
import { CofferError } from "#common/errors.ts";
import type { EnvironmentConfig } from "./config.ts";
import type { SourceResults } from "./sources.ts";
import { textOfKey } from "./values.ts";

/** The file's content. Variables of sources that are optional and absent are left out. Throws naming the variable. */
export function renderEnvironment(environment: EnvironmentConfig, results: SourceResults): string {
  let content = "";
  for (const { name, source, key } of environment.variables) {
    const result = results.get(source);
    if (result?.kind !== "data") continue;
    const value = textOfKey(result.data, key, source);
    content += environment.format === "Nul" ? nulRecord(name, value, source) : quotedLine(name, value, source);
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

function unwritable(name: string, source: string, what: string): CofferError {
  return new CofferError("invalid_request", `the value for ${name} from source "${source}" has ${what}`);
}
