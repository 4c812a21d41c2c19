// How clients send their codes: in headers of the login itself, or afterwards in a body. Pure.
import { CofferError } from "#common/errors.ts";
import { isJsonArray, type JsonObject } from "#common/json.ts";
import type { MfaCredentials } from "./login-mfa.ts";

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * `X-Vault-MFA: <method's id or name>:<code>`, several in several headers. The code may have "passcode=" before it.
 * Undefined without any. Throws `invalid_request` for what is no credential.
 */
export function headerCredentials(headers: Headers | undefined): MfaCredentials | undefined {
  const sent = headers?.["x-vault-mfa"];
  // Node joins headers of the same name with commas.
  const lines = (typeof sent === "string" ? [sent] : (sent ?? [])).flatMap((line) => line.split(","));
  const codes = lines.map((line) => line.trim()).filter(Boolean);
  if (codes.length === 0) return undefined;
  return new Map(
    codes.map((line): [string, string] => {
      const at = line.indexOf(":");
      if (at <= 0) throw new CofferError("invalid_request", "the header X-Vault-MFA wants <method>:<code>");
      return [line.slice(0, at), codeOf(line.slice(at + 1))];
    }),
  );
}

/** `{"<method's id>": ["<code>"]}`. Throws `invalid_request` for another shape. */
export function payloadCredentials(payload: JsonObject): MfaCredentials {
  return new Map(
    Object.entries(payload).map(([method, codes]): [string, string] => {
      const code = isJsonArray(codes) ? codes[0] : codes;
      if (typeof code !== "string" && typeof code !== "number")
        throw new CofferError("invalid_request", "mfa_payload wants a list with one code for each method");
      return [method, codeOf(String(code))];
    }),
  );
}

function codeOf(text: string): string {
  return text.trim().replace(/^passcode=/, "");
}
