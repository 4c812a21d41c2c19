// Reads the members of KMS requests with the limits of the KMS API reference.
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { AwsError } from "./aws-error.ts";
import type { EncryptionContext } from "./kms-keys.ts";

/** "Maximum length of 4096" for Encrypt's Plaintext. */
export const PLAINTEXT_BYTES_MAX = 4096;
/** "Maximum length of 6144" for CiphertextBlob. */
export const CIPHERTEXT_BYTES_MAX = 6144;
/** "must not exceed 8192 bytes" for the encryption context. */
export const CONTEXT_BYTES_MAX = 8192;

export function validation(message: string): AwsError {
  return new AwsError("ValidationException", message);
}

/** A required string of at most 2048 characters, as KeyId and alias names are. */
export function text(input: JsonObject, member: string): string {
  const value = optionalText(input, member);
  if (value !== undefined) return value;
  throw validation(
    `1 validation error detected: Value at '${lowerFirst(member)}' failed to satisfy constraint: Member must not be null`,
  );
}

export function optionalText(input: JsonObject, member: string): string | undefined {
  const value = input[member];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new AwsError("SerializationException", `${member} must be a string`);
  if (value.length >= 1 && value.length <= 2048) return value;
  throw validation(`Value at '${lowerFirst(member)}' failed to satisfy constraint: Member must have length 1 to 2048`);
}

/** A required blob of 1 to `max` bytes. */
export function blob(input: JsonObject, member: string, max: number): Buffer {
  const value = input[member];
  if (typeof value !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
    throw new AwsError("SerializationException", `${member} must be base64`);
  const bytes = Buffer.from(value, "base64");
  if (bytes.length >= 1 && bytes.length <= max) return bytes;
  throw validation(
    `1 validation error detected: Value at '${lowerFirst(member)}' failed to satisfy constraint: Member must have length between 1 and ${max}`,
  );
}

export function integer(input: JsonObject, member: string, range: { from: number; to: number }): number | undefined {
  const value = input[member];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= range.from && value <= range.to) return value;
  throw validation(`${member} must be between ${range.from} and ${range.to}`);
}

/** Strings by name; empty when absent. */
export function encryptionContext(input: JsonObject, member = "EncryptionContext"): EncryptionContext {
  const value = input[member] ?? {};
  if (!isJsonObject(value)) throw new AwsError("SerializationException", `${member} must be a map`);
  const context = Object.fromEntries(
    Object.entries(value).map(([name, item]) => {
      if (typeof item !== "string") throw new AwsError("SerializationException", `${member} must hold strings`);
      return [name, item];
    }),
  );
  if (JSON.stringify(context).length > CONTEXT_BYTES_MAX) throw validation(`${member} is larger than 8192 bytes`);
  return context;
}

/** Only symmetric keys exist here. */
export function assertSymmetric(input: JsonObject, member: string): void {
  const algorithm = optionalText(input, member) ?? "SYMMETRIC_DEFAULT";
  if (algorithm !== "SYMMETRIC_DEFAULT")
    throw new AwsError(
      "UnsupportedOperationException",
      `this responder has no ${algorithm}; it knows SYMMETRIC_DEFAULT`,
    );
}

/** AWS checks everything for a dry run and then refuses. */
export function assertNoDryRun(input: JsonObject): void {
  if (input["DryRun"] === true)
    throw new AwsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.");
}

function lowerFirst(member: string): string {
  return member.charAt(0).toLowerCase() + member.slice(1);
}
