// Base64 in fields: strict, where Buffer.from skips what is no base64.
import { CofferError } from "#common/errors.ts";

/** Throws `invalid_request` that names the field and where it goes wrong. */
export function decodeBase64(text: string, name: string): Buffer {
  const wrong = /[^A-Za-z0-9+/]/.exec(text.replace(/={1,2}$/, ""))?.index;
  const at = wrong ?? (text.length % 4 === 0 ? undefined : text.length);
  if (at !== undefined)
    throw new CofferError(
      "invalid_request",
      `unable to decode ${name} as base64: illegal base64 data at input byte ${at}`,
    );
  return Buffer.from(text, "base64");
}
