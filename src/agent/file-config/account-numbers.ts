// Users and groups by name or number, as passwd(5) and group(5) have them. Those of a directory service are given by number.
import { readFile } from "node:fs/promises";
import { CofferError } from "#common/errors.ts";

/** Throws `invalid_request` when there is none of that name. */
export function userNumber(name: string, file = "/etc/passwd"): Promise<number> {
  return numberOf(name, "user", file);
}

/** Throws `invalid_request` when there is none of that name. */
export function groupNumber(name: string, file = "/etc/group"): Promise<number> {
  return numberOf(name, "group", file);
}

async function numberOf(name: string, kind: string, file: string): Promise<number> {
  if (/^\d{1,10}$/.test(name)) return Number(name);
  const lines = (await readFile(file, "utf8").catch(() => "")).split("\n");
  const found = lines.map((line) => line.split(":")).find(([each]) => each === name)?.[2];
  if (found !== undefined && /^\d+$/.test(found)) return Number(found);
  throw new CofferError("invalid_request", `there is no ${kind} "${name}" in ${file}; give its number`);
}
