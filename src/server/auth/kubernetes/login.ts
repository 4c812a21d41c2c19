// `login`: a ServiceAccount's token for one of ours. What the token says is checked first, cheaply; who it is, is what
// the cluster's TokenReview answers. Labels of the namespace are asked for last, of tokens that have passed.
import { assertAddressAllowed } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import type { BackendHost } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { matchesLabels, parseLabelSelector } from "../../framework/label-selector.ts";
import { definePath, type Path } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import type { ApiServer, CallApi } from "./api-server.ts";
import { assertClaims, assertSigned, type Claims, readClaims, refused, type ServiceAccount } from "./claims.ts";
import { type Config, readConfig } from "./config.ts";
import { namespaceLabels } from "./namespace-labels.ts";
import { isBound, type Role, readRole, SELECTOR_FIELD } from "./role.ts";
import { type ReviewRequest, reviewToken } from "./token-review.ts";

const LOCAL_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";
export const LOCAL_TOKEN_FILE = `${LOCAL_FOLDER}/token`;
export const LOCAL_CA_FILE = `${LOCAL_FOLDER}/ca.crt`;

export function loginPath(host: BackendHost, call: CallApi): Path<Context> {
  return definePath("login", {
    summary: "Login by a ServiceAccount's token.",
    access: "public",
    fields: { role: field.text("The role."), jwt: field.text("The ServiceAccount's token.") },
    operations: {
      update: {
        summary: "Log in.",
        handler: (context, values) => login(context, { host, call, ...values }),
      },
    },
  });
}

interface Login {
  readonly host: BackendHost;
  readonly call: CallApi;
  readonly role: string | undefined;
  readonly jwt: string | undefined;
}

async function login(context: Context, { host, call, role: roleName, jwt }: Login): Promise<Reply> {
  if (!roleName) throw new CofferError("invalid_request", "missing role");
  if (!jwt) throw new CofferError("invalid_request", "missing jwt");
  const role = await readRole(context.storage, roleName);
  if (role === undefined) throw new CofferError("invalid_request", `invalid role name "${roleName}"`);
  assertAddressAllowed(role.token.boundCidrs, context.remoteAddress);
  const config = await readConfig(context, host);
  const claims = readClaims(jwt);
  assertClaims(claims, config, role.audience, context.clock.now());
  assertBound(role, claims);
  await assertSigned(jwt, config.pemKeys);
  const request = await reviewRequest(config, host, jwt, role, claims);
  const account = await reviewed(context, call, request, role);
  if (account.uid !== claims.uid || account.name !== claims.name || account.namespace !== claims.namespace)
    throw refused("permission denied");
  if (!isBound(role.namespaces, account.namespace))
    await assertSelected(context, call, request.server, role, account.namespace);
  return { grant: grantOf(roleName.toLowerCase(), role, account, claims) };
}

function assertBound(role: Role, account: ServiceAccount): void {
  if (!isBound(role.names, account.name)) throw refused("service account name not authorized");
  if (!isBound(role.namespaces, account.namespace) && role.namespaceSelector === "")
    throw refused("namespace not authorized");
}

/** Throws `permission_denied` unless the role's selector takes the namespace as it is labelled now. */
async function assertSelected(
  context: Context,
  call: CallApi,
  server: ApiServer,
  role: Role,
  namespace: string,
): Promise<void> {
  const outcome = await namespaceLabels(call, server, namespace);
  if (outcome.kind === "failed") {
    context.log.warn("the labels of a namespace could not be read", { host: server.host, reason: outcome.reason });
    throw refused("the namespace's labels could not be read from the cluster; the server's log has the reason");
  }
  const selector = await parseLabelSelector(SELECTOR_FIELD, role.namespaceSelector);
  if (!matchesLabels(selector, outcome.labels)) throw refused("namespace not authorized");
}

/** Asks as the configured reviewer, else as the server's own pod, else as the token itself. */
async function reviewRequest(
  config: Config,
  host: BackendHost,
  jwt: string,
  role: Role,
  claims: Claims,
): Promise<ReviewRequest> {
  const local = (file: string) => (config.disableLocal ? undefined : host.readFile(file).catch(() => undefined));
  const ca = config.caCert || (await local(LOCAL_CA_FILE));
  const bearer = config.reviewerJwt || (await local(LOCAL_TOKEN_FILE))?.trim() || jwt;
  const audiences = role.audience === "" ? claims.audiences : [role.audience];
  return { server: { host: config.host, ca: ca || undefined, bearer }, jwt, audiences };
}

async function reviewed(context: Context, call: CallApi, request: ReviewRequest, role: Role): Promise<ServiceAccount> {
  const outcome = await reviewToken(call, request);
  const { host } = request.server;
  if (outcome.kind === "failed") {
    context.log.warn("a token could not be reviewed", { host, reason: outcome.reason });
    throw refused("the token could not be reviewed by the cluster; the server's log has the reason");
  }
  if (outcome.kind === "refused") {
    context.log.info("a token was refused by the cluster", { host, reason: outcome.reason });
    throw refused("permission denied");
  }
  // An API server that knows of audiences says which it found; one that says none has ignored the question.
  if (role.audience !== "" && !outcome.audiences.includes(role.audience)) throw refused("permission denied");
  return outcome.account;
}

function grantOf(roleName: string, role: Role, account: ServiceAccount, claims: Claims): NonNullable<Reply["grant"]> {
  const { namespace, name, uid } = account;
  return {
    displayName: `${namespace}-${name}`,
    policies: role.token.policies,
    metadata: {
      role: roleName,
      service_account_name: name,
      service_account_namespace: namespace,
      service_account_secret_name: claims.secretName,
      service_account_uid: uid,
    },
    aliasName: role.aliasSource === "serviceaccount_uid" ? uid : `${namespace}/${name}`,
    token: role.token,
  };
}
