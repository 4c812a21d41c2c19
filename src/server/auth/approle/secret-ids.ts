// Secret ids: made, listed, looked up and destroyed. The secret id itself is in the answer that makes it and nowhere
// else; afterwards it is known by its accessor.
import { randomUUID } from "node:crypto";
import { areWithin, assertBlocks } from "#common/cidr.ts";
import type { Seconds } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { formatTime, ZERO_TIME } from "#common/rfc3339.ts";
import type { Context } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { withTrailingSlash } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../../framework/reply.ts";
import {
  accessorFolder,
  addSecret,
  deleteSecret,
  hmacOf,
  type Role,
  readSecret,
  requireRole,
  type SecretRecord,
  secretOfAccessor,
} from "./records.ts";
import { parseSecretMetadata } from "./secret-metadata.ts";

const secretIdFields = {
  metadata: field.text("Metadata of the tokens, as JSON text or k=v,k=v."),
  cidr_list: field.list("Blocks of addresses from which logins may come; within those of the role."),
  token_bound_cidrs: field.list("Blocks of addresses the token may be used from; within those of the role."),
  num_uses: field.integer("Logins it is good for; the role's number by default."),
  ttl: field.seconds("How long it lives; the role's time by default."),
} as const;
/** Of lists; every list takes them, and clients of OpenBao know them here as fields. */
const pageFields = {
  after: field.text("Lists begin behind this accessor."),
  limit: field.integer("Accessors that a list answers at most."),
} as const;
type SecretIdValues = Values<typeof secretIdFields>;

/** Vault's own ids have 36 bytes; longer ones than this are a mistake. */
const SECRET_ID_BYTES_MAX = 4_096;

const secretId = { secret_id: field.text("The secret id.") } as const;
const accessor = { secret_id_accessor: field.text("The secret id's accessor.") } as const;

export const secretIdsPath = withTrailingSlash(
  definePath("role/:role_name/secret-id", {
    caseless: true,
    summary: "A role's secret ids.",
    fields: { ...secretIdFields, ...pageFields },
    operations: {
      update: {
        summary: "Make a secret id.",
        handler: (context, values) => make(context, values.role_name, randomUUID(), values),
      },
      list: {
        summary: "List the accessors of the secret ids.",
        handler: async ({ storage, page }, { role_name }) => {
          const role = await requireRole(storage, role_name.toLowerCase());
          return listReply(await storage.list(accessorFolder(role.uid), page));
        },
      },
    },
  }),
);

export const customSecretIdPath = definePath("role/:role_name/custom-secret-id", {
  caseless: true,
  summary: "A secret id of your own.",
  fields: { ...secretIdFields, ...secretId },
  operations: {
    update: {
      summary: "Register it.",
      handler: (context, values) => make(context, values.role_name, values.secret_id ?? "", values),
    },
  },
});

export const secretIdLookupPath = definePath("role/:role_name/secret-id/lookup", {
  caseless: true,
  summary: "What is known of a secret id.",
  fields: secretId,
  operations: {
    update: {
      summary: "Look a secret id up.",
      handler: async (context, { role_name, secret_id }) => {
        const found = await find(context, role_name, secret_id);
        return found === undefined ? noContent : dataReply(secretReply(found.secret));
      },
    },
  },
});

const destroySecretId = {
  summary: "Destroy a secret id.",
  handler: async (context: Context, { role_name, secret_id }: { role_name: string; secret_id: string | undefined }) => {
    const found = await find(context, role_name, secret_id);
    if (found !== undefined) deleteSecret(context.storage, found.uid, found.hmac, found.secret);
    return noContent;
  },
};

export const secretIdDestroyPath = definePath("role/:role_name/secret-id/destroy", {
  caseless: true,
  summary: "The end of a secret id.",
  fields: secretId,
  operations: { update: destroySecretId, delete: destroySecretId },
});

export const accessorLookupPath = definePath("role/:role_name/secret-id-accessor/lookup", {
  caseless: true,
  summary: "What is known of a secret id, by its accessor.",
  fields: accessor,
  operations: {
    update: {
      summary: "Look a secret id up.",
      handler: async (context, { role_name, secret_id_accessor }) =>
        dataReply(secretReply((await findByAccessor(context, role_name, secret_id_accessor)).secret)),
    },
  },
});

const destroyByAccessor = {
  summary: "Destroy a secret id.",
  handler: async (context: Context, values: { role_name: string; secret_id_accessor: string | undefined }) => {
    const found = await findByAccessor(context, values.role_name, values.secret_id_accessor);
    deleteSecret(context.storage, found.uid, found.hmac, found.secret);
    return noContent;
  },
};

export const accessorDestroyPath = definePath("role/:role_name/secret-id-accessor/destroy", {
  caseless: true,
  summary: "The end of a secret id, by its accessor.",
  fields: accessor,
  operations: { update: destroyByAccessor, delete: destroyByAccessor },
});

async function make(context: Context, roleName: string, id: string, values: SecretIdValues): Promise<Reply> {
  const { storage } = context;
  const role = await requireRole(storage, roleName.toLowerCase());
  if (!role.bindSecretId) throw new CofferError("invalid_request", "bind_secret_id is not set on the role");
  if (id === "") throw new CofferError("invalid_request", "missing secret_id");
  if (Buffer.byteLength(id) > SECRET_ID_BYTES_MAX)
    throw new CofferError("invalid_request", `secret_id is longer than ${SECRET_ID_BYTES_MAX} bytes`);
  const secret = newSecret(context, role, values);
  const hmac = await hmacOf(storage, id);
  const held = await readSecret(storage, role.uid, hmac);
  if (held !== undefined && !hasEnded(held, context))
    throw new CofferError("invalid_request", "secret_id is already registered");
  if (held !== undefined) deleteSecret(storage, role.uid, hmac, held);
  addSecret(storage, role.uid, hmac, secret);
  return dataReply({
    secret_id: id,
    secret_id_accessor: secret.accessor,
    secret_id_num_uses: secret.numUses,
    secret_id_ttl: secret.ttlSeconds,
  });
}

function newSecret(context: Context, role: Role, values: SecretIdValues): SecretRecord {
  const now = context.clock.now();
  const ttlSeconds = Math.min(lifetime(role, values), context.mount.maxTtlSeconds);
  const cidrs = blocksWithin("cidr_list", values.cidr_list ?? [], role.secretIdBoundCidrs);
  const tokenBoundCidrs = blocksWithin("token_bound_cidrs", values.token_bound_cidrs ?? [], role.token.boundCidrs);
  return {
    accessor: randomUUID(),
    created: now,
    updated: now,
    ...(ttlSeconds > 0 && { expires: now + ttlSeconds * 1000 }),
    numUses: uses(role, values),
    ttlSeconds,
    metadata: parseSecretMetadata(values.metadata ?? ""),
    cidrs,
    tokenBoundCidrs,
  };
}

function lifetime(role: Role, { ttl }: SecretIdValues): Seconds {
  const limit = role.secretIdTtlSeconds;
  if (ttl === undefined) return limit;
  if (ttl < 0) throw new CofferError("invalid_request", "ttl cannot be negative");
  if (limit > 0 && (ttl === 0 || ttl > limit))
    throw new CofferError("invalid_request", "ttl cannot be longer than the role's secret_id_ttl");
  return ttl;
}

function uses(role: Role, { num_uses }: SecretIdValues): number {
  const limit = role.secretIdNumUses;
  if (num_uses === undefined) return limit;
  if (num_uses < 0) throw new CofferError("invalid_request", "num_uses cannot be negative");
  if (limit > 0 && (num_uses === 0 || num_uses > limit))
    throw new CofferError("invalid_request", "num_uses cannot be higher than the role's secret_id_num_uses");
  return num_uses;
}

function blocksWithin(name: string, blocks: readonly string[], outer: readonly string[]): readonly string[] {
  assertBlocks(name, blocks);
  if (outer.length > 0 && !areWithin(blocks, outer))
    throw new CofferError("invalid_request", `${name} must lie within the CIDR blocks of the role`);
  return blocks;
}

interface Found {
  readonly uid: string;
  readonly hmac: string;
  readonly secret: SecretRecord;
}

async function find(context: Context, roleName: string, id: string | undefined): Promise<Found | undefined> {
  if (!id) throw new CofferError("invalid_request", "missing secret_id");
  const { uid } = await requireRole(context.storage, roleName.toLowerCase());
  return found(context, uid, await hmacOf(context.storage, id));
}

async function findByAccessor(context: Context, roleName: string, sent: string | undefined): Promise<Found> {
  if (!sent) throw new CofferError("invalid_request", "missing secret_id_accessor");
  const { uid } = await requireRole(context.storage, roleName.toLowerCase());
  const hmac = await secretOfAccessor(context.storage, uid, sent);
  const there = hmac === undefined ? undefined : await found(context, uid, hmac);
  if (there === undefined)
    throw new CofferError("not_found", `failed to find accessor entry for secret_id_accessor: "${sent}"`);
  return there;
}

async function found(context: Context, uid: string, hmac: string): Promise<Found | undefined> {
  const secret = await readSecret(context.storage, uid, hmac);
  return secret === undefined || hasEnded(secret, context) ? undefined : { uid, hmac, secret };
}

export function hasEnded(secret: SecretRecord, { clock }: Context): boolean {
  return secret.expires !== undefined && secret.expires <= clock.now();
}

function secretReply(secret: SecretRecord): JsonObject {
  return {
    cidr_list: secret.cidrs,
    creation_time: formatTime(secret.created),
    expiration_time: secret.expires === undefined ? ZERO_TIME : formatTime(secret.expires),
    last_updated_time: formatTime(secret.updated),
    metadata: secret.metadata,
    secret_id_accessor: secret.accessor,
    secret_id_num_uses: secret.numUses,
    secret_id_ttl: secret.ttlSeconds,
    token_bound_cidrs: secret.tokenBoundCidrs,
  };
}
