// sys/wrapping: wrap, unwrap, rewrap, lookup. Who holds a wrapping token needs nothing else.
import { CofferError } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { readHeld } from "../approval/held-request.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { findWrapped, readWrapped, wrapAnswer, wrapInfoOf } from "../wrapping/wrapping.ts";
import { isJwt, wrappingPublicKey } from "../wrapping/wrapping-jwt.ts";
import type { SysServices } from "./services.ts";

const tokenFields = { token: withDefault(field.text("The wrapping token; the caller's own by default."), "") } as const;

export function wrappingPaths(services: SysServices) {
  const lookup = (context: PrivilegedContext, { token }: { token: string }) =>
    lookUp(context, services, token || context.clientToken);
  return [
    definePrivilegedPath("wrapping/wrap", {
      summary: "Wraps what the client sends.",
      freeForm: true,
      operations: {
        update: {
          summary: "Wrap.",
          handler: (context) => {
            if (!context.wrapTtlSeconds)
              throw new CofferError("invalid_request", "endpoint requires response wrapping to be used");
            return dataReply(context.data);
          },
        },
      },
    }),
    definePrivilegedPath("wrapping/unwrap", {
      summary: "The wrapped answer; works once.",
      access: "public",
      fields: tokenFields,
      operations: {
        update: {
          summary: "Unwrap.",
          handler: (context, { token }) => unwrap(context, services, token || context.clientToken),
        },
      },
    }),
    definePrivilegedPath("wrapping/rewrap", {
      summary: "Moves a wrapped answer to a new wrapping token.",
      fields: tokenFields,
      operations: {
        update: {
          summary: "Rewrap.",
          handler: (context, { token }) => rewrap(context, services, token || context.clientToken),
        },
      },
    }),
    definePrivilegedPath("wrapping/pubkey", {
      summary: "The key that signs wrapping tokens in the form of a JWT (ES512).",
      access: "public",
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction }) => {
            const { x, y, curve } = await wrappingPublicKey(transaction);
            return dataReply({ jwt_x: x, jwt_y: y, jwt_curve: curve });
          },
        },
      },
    }),
    definePrivilegedPath("wrapping/lookup", {
      summary: "What a wrapping token is, without using it up.",
      access: "public",
      fields: tokenFields,
      operations: { read: { summary: "Show it.", handler: lookup }, update: { summary: "Show it.", handler: lookup } },
    }),
  ];
}

async function lookUp(context: PrivilegedContext, services: SysServices, token: string): Promise<Reply> {
  const record = await findWrapped(context, services.tokens, token);
  return dataReply({
    creation_path: record.wrappedPath ?? "",
    creation_time: new Date(record.issuedAtSeconds * 1000).toISOString(),
    creation_ttl: record.ttlSeconds,
  });
}

async function unwrap(context: PrivilegedContext, services: SysServices, token: string): Promise<Reply> {
  const record = await findWrapped(context, services.tokens, token);
  if (await readHeld(context.transaction, record)) return { perform: { accessor: record.accessor } };
  const { response, raw } = await readWrapped(context.transaction, record);
  await services.expiration.revokeToken(context.transaction, record.hash);
  if (raw)
    return { status: raw.status, raw: { contentType: raw.contentType, body: Buffer.from(raw.base64, "base64") } };
  const answer = parseJson(response);
  if (!isJsonObject(answer)) throw new Error("a wrapped answer is an object");
  return { envelope: answer };
}

async function rewrap(context: PrivilegedContext, services: SysServices, token: string): Promise<Reply> {
  const { transaction: tx } = context;
  const record = await findWrapped(context, services.tokens, token);
  if (await readHeld(tx, record))
    throw new CofferError("invalid_request", "a request that waits for approval cannot be rewrapped");
  const answer = await readWrapped(tx, record);
  const wrapped = await wrapAnswer(tx, services.tokens, {
    ...{ answer, path: record.wrappedPath ?? "", ttlSeconds: record.ttlSeconds },
    ...(isJwt(token) && { format: "jwt" }),
  });
  await services.expiration.revokeToken(tx, record.hash);
  return { wrapInfo: wrapInfoOf(wrapped, answer.wrappedAccessor) };
}
