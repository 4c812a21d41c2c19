// A strict stand-in for AWS in tests: KMS, CloudHSM v2 and STS on the wire, from Node's own modules. It owns the HTTP side: telling
// services apart, proving who asks (sigv4.ts), faults (faults.ts), and answers in each protocol's form. What a service
// does stands in kms.ts, cloudhsm.ts and sts.ts. It is test code: keys and secrets lie in memory or in a plain file.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type Clock, systemClock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { AccessControl, type Caller, type Principal, type Role, type Statement } from "./access.ts";
import { AuthError, AwsError } from "./aws-error.ts";
import { cloudHsmService, HsmStore } from "./cloudhsm.ts";
import { type Controlled, controlStatus, pullLevers } from "./control.ts";
import { Faults } from "./faults.ts";
import { Grants } from "./grants.ts";
import type { JsonService } from "./json-service.ts";
import { kmsService } from "./kms.ts";
import { type Key, KeyStore } from "./kms-keys.ts";
import { verifySignature } from "./sigv4.ts";
import { loadState, saveState } from "./state-file.ts";
import {
  type IdentityProvider,
  performSts,
  type StsOptions,
  stsErrorXml,
  stsXml,
  UNSIGNED_STS_OPERATIONS,
} from "./sts.ts";

/** No KMS or STS request is nearly that large. */
const BODY_BYTES_MAX = 1024 * 1024;
/** AWS's own example account. */
const ACCOUNT_DEFAULT = "111122223333";

export interface AwsResponderOptions {
  /** Default: 127.0.0.1 and a free port. */
  readonly listen?: { readonly host: string; readonly port: number };
  /** Default: eu-central-1. */
  readonly region?: string;
  /** Twelve digits. */
  readonly account?: string;
  /** Default: one user with random keys (see `credentials`) who may do everything. */
  readonly principals?: readonly [Principal, ...Principal[]];
  readonly roles?: readonly Role[];
  readonly identityProviders?: readonly IdentityProvider[];
  /** Created at start unless they exist: "alias/coffer". */
  readonly aliases?: readonly string[];
  /** Keeps keys, aliases and sessions over a restart. */
  readonly stateFile?: string;
  /** PEM; plain HTTP without. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly clock?: Clock;
}

/** A running responder. Keys are given by id, ARN or alias. */
export interface AwsResponder {
  /** For the clients' `endpoint`, all services: "http://127.0.0.1:40123". */
  readonly endpoint: string;
  readonly port: number;
  readonly region: string;
  readonly account: string;
  /** Those of the first principal. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly faults: Faults;
  /** CloudHSM's clusters and backups, not kept over a restart. */
  readonly hsm: HsmStore;
  /** Makes a key; an alias that exists is moved to it. */
  createKey(options?: { alias?: string; description?: string; multiRegion?: boolean }): { keyId: string; arn: string };
  /** Makes a replica of another responder's multi-region key, as ReplicateKey does. */
  replicateKey(from: AwsResponder, key: string): { keyId: string; arn: string };
  /** For replicateKey. */
  findKey(key: string): Key;
  enableKey(key: string): void;
  disableKey(key: string): void;
  /** Schedules the deletion in 7 days. */
  scheduleKeyDeletion(key: string): void;
  /** As AWS does: the key is disabled afterwards. */
  cancelKeyDeletion(key: string): void;
  rotateKey(key: string): void;
  /** Replaces what an access key or a role (by its name) is allowed. */
  setPolicy(accessKeyOrRole: string, policy: readonly Statement[]): void;
  addPrincipal(principal: Principal): void;
  removePrincipal(accessKeyId: string): void;
  addRole(role: Role): void;
  /** Temporary credentials of a role (by its name), as from an agent that hands them to pods. `expires` in ms of epoch. */
  openSession(role: string, expires: number): SessionCredentials;
  /**
   * How many requests came for each operation since the start, refused ones included; and how many with each member of an
   * encryption context, as "Decrypt purpose=x".
   */
  requests(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

export interface SessionCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

interface Parts extends Controlled {
  readonly requests: Map<string, number>;
  readonly services: readonly JsonService[];
  readonly hsm: HsmStore;
  readonly sts: StsOptions;
  readonly region: string;
  readonly clock: Clock;
}

/** Starts a responder. */
export async function startAwsResponder(options: AwsResponderOptions = {}): Promise<AwsResponder> {
  const { region = "eu-central-1", account = ACCOUNT_DEFAULT, clock = systemClock, listen } = options;
  const principals = options.principals ?? [randomPrincipal()];
  const now = () => clock.now();
  const save = () => {
    if (options.stateFile !== undefined) saveState(options.stateFile, store, access);
  };
  const store = new KeyStore({ region, account, now, onChange: save });
  const access = new AccessControl(account, save);
  const hsm = new HsmStore(now);
  for (const principal of principals) access.addPrincipal(principal);
  for (const role of options.roles ?? []) access.addRole(role);
  if (options.stateFile !== undefined) loadState(options.stateFile, store, access);
  for (const alias of options.aliases ?? []) if (!store.aliases.has(alias)) store.setAlias(alias, store.create());
  const parts: Parts = {
    store,
    access,
    faults: new Faults(),
    requests: new Map(),
    hsm,
    services: [
      kmsService(store, access, account, new Grants(now)),
      cloudHsmService(hsm, access, `arn:aws:cloudhsm:${region}:${account}:`),
    ],
    sts: { account, access, identityProviders: options.identityProviders ?? [], now },
    region,
    clock,
  };
  const server = await listenOn((request, response) => void handle(request, response, parts), listen, options.tls);
  const { accessKeyId, secretAccessKey } = principals[0];
  return { ...server, region, account, credentials: { accessKeyId, secretAccessKey }, ...controls(parts) };
}

function randomPrincipal(): Principal {
  const id = randomUUID().replaceAll("-", "").toUpperCase();
  return { accessKeyId: `AKIA${id.slice(0, 16)}`, secretAccessKey: randomUUID() + randomUUID() };
}

function controls({ store, access, faults, requests, sts, hsm }: Parts) {
  const named = (key: Key) => ({ keyId: key.id, arn: key.arn });
  return {
    faults,
    hsm,
    createKey: (options: { alias?: string; description?: string; multiRegion?: boolean } = {}) => {
      const { alias, description, multiRegion } = options;
      const key = store.create(description, multiRegion);
      if (alias !== undefined) store.setAlias(alias, key);
      return named(key);
    },
    replicateKey: (from: AwsResponder, key: string) => named(store.replicate(from.findKey(key))),
    findKey: (key: string) => store.resolve(key),
    enableKey: (key: string) => store.setState(store.resolve(key), "Enabled"),
    disableKey: (key: string) => store.setState(store.resolve(key), "Disabled"),
    scheduleKeyDeletion: (key: string) => void store.scheduleDeletion(store.resolve(key), 7),
    cancelKeyDeletion: (key: string) => store.setState(store.resolve(key), "Disabled"),
    rotateKey: (key: string) => store.rotate(store.resolve(key)),
    setPolicy: (of: string, policy: readonly Statement[]) => access.setPolicy(of, policy),
    addPrincipal: (principal: Principal) => access.addPrincipal(principal),
    removePrincipal: (accessKeyId: string) => access.removePrincipal(accessKeyId),
    addRole: (role: Role) => access.addRole(role),
    openSession: (name: string, expires: number) => {
      const role = access.findRole(`arn:aws:iam::${sts.account}:role/${name}`);
      if (role === undefined) throw new Error(`there is no role ${name}`);
      const { accessKeyId, secretAccessKey, sessionToken } = access.openSession(role, "pod", expires);
      return { accessKeyId, secretAccessKey, sessionToken };
    },
    requests: () => requests,
  };
}

async function listenOn(
  listener: RequestListener,
  listen: { host: string; port: number } = { host: "127.0.0.1", port: 0 },
  tls?: { cert: string; key: string },
) {
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen.port, listen.host, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the responder must listen on a TCP port");
  const host = listen.host === "0.0.0.0" || listen.host === "::" ? "localhost" : listen.host;
  return {
    endpoint: `${tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${address.port}`,
    port: address.port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function handle(request: IncomingMessage, response: ServerResponse, parts: Parts): Promise<void> {
  const requestId = randomUUID();
  try {
    const answer = await answerTo(request, requestId, parts);
    if (answer === "cut") return void request.socket.destroy();
    if (answer === "silence") return;
    // The date is the responder's own, as a service's is: clients correct their clock by it.
    const date = new Date(parts.clock.now()).toUTCString();
    response.writeHead(answer.status, {
      "content-type": answer.type,
      "x-amzn-requestid": requestId,
      date,
      ...answer.headers,
    });
    response.end(answer.body);
  } catch (error) {
    // A fault of the responder itself must be seen by whoever writes the test.
    response.writeHead(500, { "content-type": "text/plain" });
    response.end(`the responder failed: ${messageOf(error)}\n`);
  }
}

async function answerTo(
  request: IncomingMessage,
  requestId: string,
  parts: Parts,
): Promise<Answer | "cut" | "silence"> {
  const path = (request.url ?? "/").split("?")[0];
  if (path === "/_control") return control(request, parts);
  if (parts.faults.down) return "cut";
  const body = await readBody(request);
  if (parts.faults.hang) return "silence";
  if (parts.faults.latencyMillis > 0) await parts.clock.sleep(parts.faults.latencyMillis);
  if (request.method !== "POST" || path !== "/" || body === undefined)
    return { status: 404, type: "text/plain", body: "UnknownOperationException\n" };
  if (request.headers["x-amz-target"] !== undefined) return json(request, body, parts);
  return query(request, body, requestId, parts);
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length <= BODY_BYTES_MAX) chunks.push(bytes);
  }
  return length > BODY_BYTES_MAX ? undefined : Buffer.concat(chunks);
}

async function control(request: IncomingMessage, parts: Parts): Promise<Answer> {
  const type = "application/json";
  if (request.method === "GET") return { status: 200, type, body: `${JSON.stringify(controlStatus(parts))}\n` };
  try {
    const result = pullLevers(parseJson(String(await readBody(request))), parts);
    return { status: 200, type, body: `${JSON.stringify(result)}\n` };
  } catch (error) {
    if (!(error instanceof AwsError || error instanceof CofferError)) throw error;
    return { status: 400, type, body: `${JSON.stringify({ error: error.message })}\n` };
  }
}

function callerOf(request: IncomingMessage, body: Buffer, service: string, { access, region, clock }: Parts): Caller {
  return verifySignature(
    { method: request.method ?? "", target: request.url ?? "/", headers: request.headersDistinct, body },
    { region, service, now: clock.now(), find: (id) => access.find(id) },
  );
}

function count(requests: Map<string, number>, operation: string): void {
  requests.set(operation, (requests.get(operation) ?? 0) + 1);
}

/** The refusal in the protocol's words; anything else is a fault of the responder. */
function refusal(error: unknown, protocol: "json" | "query"): AwsError {
  if (error instanceof AwsError) return error;
  if (error instanceof AuthError) return error.as(protocol);
  throw error;
}

function json(request: IncomingMessage, body: Buffer, parts: Parts): Answer {
  const type = "application/x-amz-json-1.1";
  try {
    return { status: 200, type, body: JSON.stringify(performJson(request, body, parts)) };
  } catch (error) {
    const { code, message, status } = refusal(error, "json");
    // Old services answer with a namespace before "#"; KMS gives the plain name.
    return { status, type, body: JSON.stringify(message === "" ? { __type: code } : { __type: code, message }) };
  }
}

function performJson(request: IncomingMessage, body: Buffer, parts: Parts): JsonObject {
  const [target, operation = ""] = String(request.headers["x-amz-target"]).split(".");
  const service = parts.services.find((known) => known.target === target);
  const perform = service?.operations[operation];
  if (service === undefined || perform === undefined) throw new AwsError("UnknownOperationException", "", 400);
  count(parts.requests, operation);
  const fault = parts.faults.draw(operation);
  if (fault !== undefined) throw fault;
  const caller = callerOf(request, body, service.name, parts);
  if (!String(request.headers["content-type"]).startsWith("application/x-amz-json-1.1"))
    throw new AwsError("SerializationException", "the content type must be application/x-amz-json-1.1");
  const input = parseInput(body);
  const context = input["EncryptionContext"];
  for (const [name, value] of Object.entries(isJsonObject(context) ? context : {}))
    count(parts.requests, `${operation} ${name}=${String(value)}`);
  return perform(input, caller);
}

function parseInput(body: Buffer): JsonObject {
  try {
    const input = parseJson(body.toString("utf8"));
    if (isJsonObject(input)) return input;
  } catch (error) {
    if (!(error instanceof CofferError)) throw error;
  }
  throw new AwsError("SerializationException", "the body must be a JSON object");
}

function query(request: IncomingMessage, body: Buffer, requestId: string, parts: Parts): Answer {
  const type = "text/xml";
  const form = new URLSearchParams(body.toString("utf8"));
  const action = form.get("Action") ?? "";
  try {
    count(parts.requests, action);
    const fault = parts.faults.draw(action);
    if (fault !== undefined) throw fault;
    const unsigned = UNSIGNED_STS_OPERATIONS.includes(action);
    const caller = unsigned ? undefined : callerOf(request, body, "sts", parts);
    return { status: 200, type, body: stsXml(action, performSts(form, caller, parts.sts), requestId) };
  } catch (error) {
    const refused = refusal(error, "query");
    return { status: refused.status, type, body: stsErrorXml(refused, requestId) };
  }
}
