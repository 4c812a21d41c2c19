// The page of error codes, from the one table of them.
import { errorCodes } from "#common/errors.ts";
import type { Generator } from "./generator.ts";
import { pageHead, table } from "./markdown.ts";

const INTRODUCTION = `Inside Coffer every failure has one of these codes; callers match codes, never messages. On the wire a failure is what clients of Vault expect: the HTTP status and \`{"errors": ["…"]}\`. Messages are for people, name the field or thing they are about, and hold no secret.

`;

function page(): string {
  const rows = errorCodes().map(({ code, status, doc }) => [`\`${code}\``, String(status), doc]);
  return pageHead("Errors", "src/common/errors.ts") + INTRODUCTION + table(["Code", "HTTP status", "Meaning"], rows);
}

export const errorReferenceGenerator: Generator = {
  name: "error-reference",
  files: () => new Map([["docs/reference/errors.md", page()]]),
};
