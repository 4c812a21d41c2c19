// sys/wrapping: wrap, unwrap, rewrap, lookup. Who holds a wrapping token needs nothing else.
import { CofferError } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { findWrapped, readWrapped, wrapAnswer } from "../wrapping/wrapping.ts";
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
  const answer = parseJson(await readWrapped(context.transaction, record));
  await services.expiration.revokeToken(context.transaction, record.hash);
  if (!isJsonObject(answer)) throw new Error("a wrapped answer is an object");
  return { envelope: answer };
}

async function rewrap(context: PrivilegedContext, services: SysServices, token: string): Promise<Reply> {
  const { transaction: tx } = context;
  const record = await findWrapped(context, services.tokens, token);
  const path = record.wrappedPath ?? "";
  const wrapped = await wrapAnswer(tx, services.tokens, {
    answer: await readWrapped(tx, record),
    path,
    ttlSeconds: record.ttlSeconds,
  });
  await services.expiration.revokeToken(tx, record.hash);
  return {
    wrapInfo: {
      token: wrapped.token,
      accessor: wrapped.record.accessor,
      ttl: record.ttlSeconds,
      creation_time: new Date(wrapped.record.issuedAtSeconds * 1000).toISOString(),
      creation_path: path,
    },
  };
}
