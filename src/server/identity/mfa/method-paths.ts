// identity/mfa/method: how second factors are checked. TOTP is the one kind there is.
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { QR_PIXELS_MAX } from "#common/qr-code.ts";
import { TOTP_ALGORITHMS } from "#common/totp.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { NamespaceName, PrivilegedContext } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { pageOf, withTrailingSlash } from "../../framework/listing.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { assertName } from "../identity-records.ts";
import { ofNamespace } from "../replies.ts";
import { allMethods, readEnforcements, readMethod } from "./mfa-config.ts";
import {
  attemptsKey,
  type Method,
  methodKey,
  methodKind,
  methodNameKey,
  methodPointerKind,
  secretPrefix,
} from "./mfa-records.ts";

/** Secrets that go with their method in one transaction. Others stay, of no use without it. */
const SECRETS_REMOVED_MAX = 5_000;
/** SHA-512's block: longer keys are hashed first and gain nothing. */
const KEY_BYTES_MAX = 128;
/** RFC 4226 section 4 wants 128 bits. */
const KEY_BYTES_MIN = 16;
const PERIOD_SECONDS_MAX = 86_400;

const methodFields = {
  method_name: field.text("Name of the method; unique."),
  issuer: field.text("Whose codes these are, as authenticator apps show it."),
  period: field.seconds("Seconds that a code is for; 30 by default."),
  key_size: field.integer("Bytes of a new key; 20 by default."),
  qr_size: field.integer("Pixels of a new key's QR code; 200 by default, 0 for none."),
  algorithm: field.text("SHA1 (the default), SHA256 or SHA512."),
  digits: field.integer("Digits of a code: 6 (the default) or 8."),
  skew: field.integer("Periods before and after the present one whose codes are taken: 0 or 1 (the default)."),
  max_validation_attempts: field.integer(
    "Wrong codes in a row before the next period must be waited for; 5 by default.",
  ),
} as const;

export function methodPaths() {
  return [
    withTrailingSlash(
      definePrivilegedPath("mfa/method", {
        summary: "All methods.",
        operations: { list: { summary: "List them.", handler: (context) => list(context) } },
      }),
    ),
    withTrailingSlash(
      definePrivilegedPath("mfa/method/totp", {
        summary: "All TOTP methods.",
        fields: methodFields,
        operations: {
          list: { summary: "List them.", handler: (context) => list(context) },
          update: { summary: "Make one.", handler: ({ transaction: tx }, values) => write(tx, values) },
        },
      }),
    ),
    definePrivilegedPath("mfa/method/totp/:method_id", {
      summary: "A method: time-based one-time passwords.",
      fields: methodFields,
      operations: {
        read: { summary: "Show it.", handler: (context, { method_id }) => show(context, method_id) },
        update: {
          summary: "Change it. Keys that users have already stay as they are.",
          handler: async ({ transaction: tx }, values) => {
            const before = await readMethod(tx, values.method_id);
            if (!before) throw new CofferError("invalid_request", `there is no MFA method "${values.method_id}"`);
            return write(tx, values, before);
          },
        },
        delete: {
          summary: "Delete it with all its keys.",
          handler: ({ transaction: tx }, { method_id }) => remove(tx, method_id),
        },
      },
    }),
    definePrivilegedPath("mfa/method/:method_id", {
      summary: "A method of whatever kind.",
      operations: {
        read: { summary: "Show it.", handler: (context, { method_id }) => show(context, method_id) },
      },
    }),
  ];
}

async function list({ transaction: tx, page, scope }: PrivilegedContext): Promise<Reply | undefined> {
  const methods = await allMethods(tx);
  const ids = pageOf(
    methods.map((method) => method.id),
    page,
  );
  if (ids.length === 0) return undefined;
  const shown = methods.filter((method) => ids.includes(method.id));
  return dataReply({
    keys: ids,
    key_info: Object.fromEntries(shown.map((method) => [method.id, methodReply(method, scope)])),
  });
}

async function show({ transaction: tx, scope }: PrivilegedContext, id: string): Promise<Reply | undefined> {
  const method = await readMethod(tx, id);
  return method && dataReply(methodReply(method, scope));
}

function methodReply(method: Method, scope: NamespaceName): JsonObject {
  return {
    algorithm: method.algorithm,
    digits: method.digits,
    id: method.id,
    issuer: method.issuer,
    key_size: method.keyBytes,
    max_validation_attempts: method.maxValidationAttempts,
    name: method.name,
    ...ofNamespace(scope),
    period: method.periodSeconds,
    qr_size: method.qrPixels,
    skew: method.skew,
    type: "totp",
  };
}

type MethodValues = Values<typeof methodFields>;

async function write(tx: Transaction, values: MethodValues, before?: Method): Promise<Reply> {
  const base = before ?? newMethod();
  const algorithm = values.algorithm ?? base.algorithm;
  const method: Method = {
    id: base.id,
    name: values.method_name ?? base.name,
    issuer: values.issuer ?? base.issuer,
    periodSeconds: values.period ?? base.periodSeconds,
    keyBytes: values.key_size ?? base.keyBytes,
    qrPixels: values.qr_size ?? base.qrPixels,
    algorithm: TOTP_ALGORITHMS.find((known) => known === algorithm) ?? refuse("algorithm", TOTP_ALGORITHMS.join(", ")),
    digits: values.digits ?? base.digits,
    skew: values.skew ?? base.skew,
    maxValidationAttempts: values.max_validation_attempts || base.maxValidationAttempts,
  };
  assertSensible(method);
  await claimName(tx, before, method);
  tx.write(methodKind, methodKey(method.id), method);
  return dataReply({ method_id: method.id });
}

function newMethod(): Method {
  return {
    ...{ id: randomUUID(), name: "", issuer: "", periodSeconds: 30, keyBytes: 20, qrPixels: 200, algorithm: "SHA1" },
    ...{ digits: 6, skew: 1, maxValidationAttempts: 5 },
  };
}

function refuse(what: string, wanted: string): never {
  throw new CofferError("invalid_request", `${what} must be ${wanted}`);
}

function assertSensible(method: Method): void {
  const isWithin = (value: number, min: number, max: number) => value >= min && value <= max;
  if (method.issuer === "") refuse("issuer", "set");
  assertName("issuer", method.issuer);
  if (!isWithin(method.periodSeconds, 1, PERIOD_SECONDS_MAX)) refuse("period", `1 to ${PERIOD_SECONDS_MAX} seconds`);
  if (!isWithin(method.keyBytes, KEY_BYTES_MIN, KEY_BYTES_MAX))
    refuse("key_size", `${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes`);
  if (!isWithin(method.qrPixels, 0, QR_PIXELS_MAX)) refuse("qr_size", `0 to ${QR_PIXELS_MAX} pixels`);
  if (method.digits !== 6 && method.digits !== 8) refuse("digits", "6 or 8");
  if (method.skew !== 0 && method.skew !== 1) refuse("skew", "0 or 1");
  if (method.maxValidationAttempts < 1) refuse("max_validation_attempts", "greater than zero");
}

async function claimName(tx: Transaction, before: Method | undefined, { id, name }: Method): Promise<void> {
  if (before?.name === name) return;
  if (before && before.name !== "") tx.delete(methodNameKey(before.name));
  if (name === "") return;
  assertName("method_name", name);
  const held = await tx.read(methodPointerKind, methodNameKey(name));
  if (held && held.id !== id) throw new CofferError("invalid_request", "method_name belongs to another method");
  tx.write(methodPointerKind, methodNameKey(name), { id });
}

async function remove(tx: Transaction, id: string): Promise<Reply> {
  const method = await readMethod(tx, id);
  if (!method) return noContent;
  const user = (await readEnforcements(tx)).find((enforcement) => enforcement.methodIds.includes(id));
  if (user)
    throw new CofferError(
      "invalid_request",
      `methodID is still used by an enforcement configuration with ID: ${user.id}`,
    );
  for (const entity of await tx.list(secretPrefix(id), { limit: SECRETS_REMOVED_MAX })) {
    tx.delete(secretPrefix(id) + entity);
    tx.delete(attemptsKey(id, decodeURIComponent(entity)));
  }
  if (method.name !== "") tx.delete(methodNameKey(method.name));
  tx.delete(methodKey(id));
  return noContent;
}
