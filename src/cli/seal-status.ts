// The answer of sys/seal-status as Vault's table shows it; `status` and `operator unseal` share it.
import { isJsonArray, isJsonObject, type JsonObject } from "#common/json.ts";
import { cell, type Row, table } from "./table.ts";

/** Names of the rows, in order; a member that the answer lacks has no row. */
const ROWS: readonly (readonly [string, string])[] = [
  ["type", "Seal Type"],
  ["recovery_seal_type", "Recovery Seal Type"],
  ["initialized", "Initialized"],
  ["sealed", "Sealed"],
  ["n", "Total Shares"],
  ["t", "Threshold"],
  ["progress", "Unseal Progress"],
  ["nonce", "Unseal Nonce"],
  ["migration", "Seal Migration in Progress"],
  ["version", "Version"],
  ["build_date", "Build Date"],
  ["storage_type", "Storage Type"],
  ["cluster_name", "Cluster Name"],
  ["cluster_id", "Cluster ID"],
];

/** The table; progress and nonce only while keys are being given, other members of the server below. */
export function sealStatusTable(data: JsonObject): string {
  const rows: Row[] = [];
  for (const [key, name] of ROWS) {
    const value = data[key];
    if (value === undefined || value === "" || (key === "migration" && value === false)) continue;
    if ((key === "progress" || key === "nonce") && data["sealed"] !== true) continue;
    rows.push([name, key === "progress" ? `${cell(value)}/${cell(data["t"])}` : cell(value)]);
  }
  for (const key of ["warnings", "seals", "reason", "error"]) {
    const value = data[key];
    if (value !== undefined && value !== null && value !== "") rows.push([key, cell(value)]);
  }
  return table(["Key", "Value"], [...rows, ...ownRows(data)]);
}

/** What only this server tells, and no table of Vault's has: why it is sealed, and what else would open it. */
function ownRows(data: JsonObject): readonly Row[] {
  const { emergency, fips, seal_troubles: troubles, storage_trouble: trouble } = data;
  const rows: Row[] = [];
  if (emergency !== undefined && isJsonObject(emergency))
    rows.push(["Emergency Set", `${cell(emergency["t"])} of ${cell(emergency["n"])} shares`]);
  if (fips === true) rows.push(["FIPS Mode", "true"]);
  if (trouble !== undefined) rows.push(["Storage Trouble", cell(trouble)]);
  for (const each of troubles !== undefined && isJsonArray(troubles) ? troubles : [])
    if (isJsonObject(each))
      rows.push([`Seal ${cell(each["seal"])}`, `${cell(each["reason"])}: ${cell(each["message"])}`]);
  return rows;
}
