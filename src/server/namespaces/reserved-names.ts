// Names that no namespace may have: paths begin with them, or they mean the root namespace.
import { CofferError } from "#common/errors.ts";
import { NAMESPACE_DEPTH_MAX, NAMESPACE_PATH_BYTES_MAX } from "./namespace-record.ts";

export const RESERVED_NAMES: readonly string[] = ["root", "sys", "audit", "auth", "cubbyhole", "identity"];

/** Throws `invalid_request` unless `name` can be that of a namespace below `parentPath` ("" or with a slash). */
export function assertNamespaceName(parentPath: string, depth: number, name: string): void {
  if (name.includes("/")) throw invalid("path must not contain /");
  if (/\s/.test(name))
    throw invalid(`${JSON.stringify(name)} contains space characters that cannot be used in a namespace name`);
  if (name === "" || name === "." || name === ".." || /\p{Cc}/u.test(name) || !name.isWellFormed())
    throw invalid(`${JSON.stringify(name)} cannot be used as a namespace name; choose another`);
  if (RESERVED_NAMES.includes(name))
    throw invalid(`${JSON.stringify(`${name}/`)} is a reserved path and cannot be used as a namespace name`);
  if (depth > NAMESPACE_DEPTH_MAX) throw invalid(`namespaces are nested at most ${NAMESPACE_DEPTH_MAX} deep`);
  if (Buffer.byteLength(parentPath + name) >= NAMESPACE_PATH_BYTES_MAX)
    throw invalid(`the path of a namespace has at most ${NAMESPACE_PATH_BYTES_MAX} bytes`);
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
