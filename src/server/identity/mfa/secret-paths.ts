// identity/mfa/method/totp/{generate,admin-generate,admin-destroy}: the keys that users' authenticator apps hold. A key
// is shown once, when it is made.
import { randomBytes } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { qrPng } from "#common/qr-code.ts";
import { otpauthUrl } from "#common/totp.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { field, withDefault } from "../../framework/fields.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { currentEntity } from "../entities.ts";
import type { Entity } from "../identity-records.ts";
import { readMethod } from "./mfa-config.ts";
import { attemptsKey, type Method, secretKey, secretKind } from "./mfa-records.ts";

const methodField = { method_id: withDefault(field.text("Id of the method."), "") } as const;
const bothFields = { ...methodField, entity_id: withDefault(field.text("Id of the entity."), "") } as const;

export function secretPaths() {
  return [
    definePrivilegedPath("mfa/method/totp/generate", {
      summary: "A new key for the caller's entity.",
      fields: methodField,
      operations: {
        update: {
          summary: "Make it.",
          handler: ({ transaction: tx, caller }, { method_id }) => generate(tx, method_id, caller?.entityId ?? ""),
        },
      },
    }),
    definePrivilegedPath("mfa/method/totp/admin-generate", {
      summary: "A new key for an entity.",
      fields: bothFields,
      operations: {
        update: {
          summary: "Make it.",
          handler: ({ transaction: tx }, { method_id, entity_id }) => generate(tx, method_id, entity_id),
        },
      },
    }),
    definePrivilegedPath("mfa/method/totp/admin-destroy", {
      summary: "Takes an entity's key away, so that it can have a new one.",
      fields: bothFields,
      operations: {
        update: {
          summary: "Destroy it.",
          handler: async ({ transaction: tx }, { method_id, entity_id }) => {
            const { method, entity } = await bothOf(tx, method_id, entity_id);
            tx.delete(secretKey(method.id, entity.id));
            tx.delete(attemptsKey(method.id, entity.id));
            return noContent;
          },
        },
      },
    }),
  ];
}

async function bothOf(
  tx: Transaction,
  methodId: string,
  entityId: string,
): Promise<{ method: Method; entity: Entity }> {
  if (methodId === "") throw new CofferError("invalid_request", "missing method ID");
  const method = await readMethod(tx, methodId);
  if (!method)
    throw new CofferError("invalid_request", `configuration for method ID ${JSON.stringify(methodId)} does not exist`);
  const entity = entityId === "" ? undefined : await currentEntity(tx, entityId);
  if (!entity) throw new CofferError("invalid_request", "missing or invalid entity ID");
  return { method, entity };
}

async function generate(tx: Transaction, methodId: string, entityId: string): Promise<Reply> {
  const { method, entity } = await bothOf(tx, methodId, entityId);
  if (await tx.read(secretKind, secretKey(method.id, entity.id)))
    return { warnings: [`Entity already has a secret for MFA method ${JSON.stringify(method.name || method.id)}`] };
  const key = randomBytes(method.keyBytes);
  const { issuer, algorithm, digits, periodSeconds, skew, qrPixels } = method;
  const secret = { issuer, algorithm, digits, periodSeconds, skew, key: key.toString("base64") };
  tx.write(secretKind, secretKey(method.id, entity.id), secret);
  const url = otpauthUrl(key, method, { issuer, account: entity.id });
  key.fill(0);
  const picture = qrPixels > 0 ? qrPng(url, qrPixels) : undefined;
  return dataReply({ barcode: picture?.toString("base64") ?? "", url });
}
