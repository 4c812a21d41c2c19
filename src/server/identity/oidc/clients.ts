// identity/oidc/client: applications that let their users log in here.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { randomText } from "../../tokens/token-hash.ts";
import { readAssignment } from "./assignments.ts";
import { allClients, deleteClient, readClient, writeClient } from "./client-records.ts";
import { namedPaths } from "./named-records.ts";
import { assertOidcName, type Client, listNames } from "./oidc-records.ts";
import { DEFAULT_KEY, readKey, withMaterial } from "./signing-keys.ts";

const DAY_SECONDS = 86_400;
/** As long as clients of Vault know them; 64 of 62 characters are 381 bits. */
const CLIENT_ID_LENGTH = 32;
const CLIENT_SECRET_LENGTH = 64;
const REDIRECT_URIS_MAX = 1_000;

const clientFields = {
  key: field.text('The named key that signs; "default" when left out. Cannot be changed later.'),
  redirect_uris: field.list("Where users may be sent back to."),
  assignments: field.list('Assignments that say who may log in; "allow_all" is everyone.'),
  client_type: field.text("confidential (the default) or public. Cannot be changed later."),
  id_token_ttl: field.seconds("How long identity tokens are valid; a day by default."),
  access_token_ttl: field.seconds("How long access tokens are valid; a day by default."),
  authorization_code: field.flag("Whether users may log in; true by default."),
  client_credentials: field.flag("Whether the client may get tokens about itself; false by default."),
} as const;

export function clientPaths() {
  return namedPaths({
    folder: "client",
    summary: "A client: an application whose users log in here.",
    fields: clientFields,
    exists: async ({ transaction: tx }, name) => (await readClient(tx, name)) !== undefined,
    list: (context) => list(context),
    read: async ({ transaction: tx }, name) => {
      const client = await readClient(tx, name);
      if (!client) return undefined;
      return dataReply({ ...shown(client), ...(client.clientSecret !== "" && { client_secret: client.clientSecret }) });
    },
    write: (context, values) => write(context, values),
    remove: async ({ transaction: tx }, name) => {
      const client = await readClient(tx, name);
      if (client) deleteClient(tx, client);
      return noContent;
    },
  });
}

/** All but the secret. */
function shown(client: Client): JsonObject {
  return {
    access_token_ttl: client.accessTokenTtlSeconds,
    assignments: client.assignments,
    authorization_code: client.authorizationCode,
    client_credentials: client.clientCredentials,
    client_id: client.clientId,
    client_type: client.type,
    id_token_ttl: client.idTokenTtlSeconds,
    key: client.key,
    redirect_uris: client.redirectUris,
  };
}

async function list({ transaction: tx, page }: PrivilegedContext): Promise<Reply | undefined> {
  const names = new Set(await listNames(tx, "client", page));
  const clients = (await allClients(tx)).filter((client) => names.has(client.name));
  if (clients.length === 0) return undefined;
  return dataReply({
    keys: clients.map((client) => client.name),
    key_info: Object.fromEntries(clients.map((client) => [client.name, shown(client)])),
  });
}

type ClientValues = Values<typeof clientFields> & { readonly name: string };

async function write({ transaction: tx, clock }: PrivilegedContext, values: ClientValues): Promise<Reply> {
  assertOidcName("client", values.name);
  const before = await readClient(tx, values.name);
  const base = before ?? newClient(values);
  if (before && values.key !== undefined && values.key !== before.key)
    throw new CofferError("invalid_request", "key modification is not allowed");
  if (before && values.client_type !== undefined && values.client_type !== before.type)
    throw new CofferError("invalid_request", "client_type modification is not allowed");
  const client: Client = {
    ...base,
    redirectUris: [...new Set(values.redirect_uris ?? base.redirectUris)],
    assignments: [...new Set(values.assignments ?? base.assignments)],
    idTokenTtlSeconds: values.id_token_ttl ?? base.idTokenTtlSeconds,
    accessTokenTtlSeconds: values.access_token_ttl ?? base.accessTokenTtlSeconds,
    authorizationCode: values.authorization_code ?? base.authorizationCode,
    clientCredentials: values.client_credentials ?? base.clientCredentials,
  };
  await assertUsable(tx, client, clock.now());
  writeClient(tx, client);
  return noContent;
}

function newClient({ name, key, client_type = "confidential" }: ClientValues): Client {
  if (client_type !== "confidential" && client_type !== "public")
    throw new CofferError("invalid_request", `invalid client_type ${JSON.stringify(client_type)}`);
  return {
    name,
    clientId: randomText(CLIENT_ID_LENGTH),
    clientSecret: client_type === "public" ? "" : `hvo_secret_${randomText(CLIENT_SECRET_LENGTH)}`,
    type: client_type,
    key: key || DEFAULT_KEY,
    redirectUris: [],
    assignments: [],
    idTokenTtlSeconds: DAY_SECONDS,
    accessTokenTtlSeconds: DAY_SECONDS,
    authorizationCode: true,
    clientCredentials: false,
  };
}

async function assertUsable(tx: Transaction, client: Client, now: number): Promise<void> {
  const refuse = (message: string) => new CofferError("invalid_request", message);
  const key = await readKey(tx, client.key);
  if (!key) throw refuse(`key ${JSON.stringify(client.key)} does not exist`);
  for (const name of client.assignments)
    if (!(await readAssignment(tx, name))) throw refuse(`assignment ${JSON.stringify(name)} does not exist`);
  if (client.idTokenTtlSeconds <= 0 || client.accessTokenTtlSeconds <= 0)
    throw refuse("id_token_ttl and access_token_ttl must be greater than zero");
  if (client.idTokenTtlSeconds > key.verificationTtlSeconds)
    throw refuse("a client's id_token_ttl cannot be greater than the verification_ttl of the key it references");
  if (client.redirectUris.length > REDIRECT_URIS_MAX) throw refuse(`redirect_uris has more than ${REDIRECT_URIS_MAX}`);
  const wrong = client.redirectUris.find((uri) => !URL.canParse(uri) || uri.includes("#"));
  if (wrong !== undefined)
    throw refuse(`redirect_uris: ${JSON.stringify(wrong)} is no absolute URI without a fragment`);
  if (client.clientCredentials && client.type === "public")
    throw refuse("client_credentials is for confidential clients: a public one cannot prove who it is");
  await withMaterial(tx, key, Math.floor(now / 1000));
}
