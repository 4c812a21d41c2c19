// What is measured: requests of each kind, made ready by the API, so that any server of this API can be asked the same.
// A workload counts its requests itself, because some can be sent only once.
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { requestBytes } from "./load.ts";

export interface Workload {
  readonly name: string;
  /** The bare responder's answer to the same method. */
  readonly yardstick: "GET" | "POST";
  /** Each request is a commit at least, so the raw storage is a limit too. */
  readonly commits: boolean;
  /** It is what `necessary-read.ts` does the least of. */
  readonly isNecessaryRead?: boolean;
  next(): Buffer;
}

export interface ServerToAsk {
  readonly address: string;
  readonly token: string;
}

const KEYS = 1_000;
/** Coprime to KEYS: visits all keys, not in their order. */
const STRIDE = 7_919;
/** Tokens are revoked so long after they were made that all clients are done with making them. */
const REVOKED_BEHIND = 512;
const RENEWED = 512;
const CONCURRENCY = 16;
export const SECRET = { password: "x".repeat(64) };
const POLICY =
  'path "bench-*" { capabilities = ["create", "read", "update", "delete", "list"] }\npath "cubbyhole/*" { capabilities = ["create", "read", "update"] }';

interface Prepared {
  readonly ask: Ask;
  /** A service token under an ordinary policy, as applications have. */
  readonly token: string;
}

type Ask = (method: string, path: string, body?: object) => Promise<JsonObject>;
type Make = (prepared: Prepared, root: string) => Promise<() => Buffer> | (() => Buffer);
type Kind = Omit<Workload, "name" | "next"> & { readonly make: Make };

const reads = (make: Make): Kind => ({ yardstick: "GET", commits: false, make });
const writes = (make: Make): Kind => ({ yardstick: "POST", commits: true, make });

const kinds: Readonly<Record<string, Kind>> = {
  "seal-status": reads(() => repeat(requestBytes("GET", "/v1/sys/seal-status", "", ""))),
  "kv1-read": reads(({ token }) => counted((n) => get(`bench-v1/${keyOf(n)}`, token))),
  "kv1-write": writes(({ token }) => counted((n) => post(`bench-v1/${keyOf(n)}`, token, SECRET))),
  "kv1-list": reads(({ token }) => repeat(get("bench-v1/list?list=true", token))),
  "kv2-read": {
    ...reads(({ token }) => counted((n) => get(`bench-v2/data/${keyOf(n)}`, token))),
    isNecessaryRead: true,
  },
  "kv2-write": writes(({ token }) => counted((n) => kv2Write(n, token))),
  "kv2-list": reads(({ token }) => repeat(get("bench-v2/metadata/list?list=true", token))),
  "kv2-mixed": reads(({ token }) =>
    counted((n) => (n % 10 === 0 ? kv2Write(n, token) : get(`bench-v2/data/${keyOf(n)}`, token))),
  ),
  cubbyhole: writes(({ token }) => counted((n) => post(`cubbyhole/k${n % KEYS}`, token, SECRET))),
  "approle-service": writes(({ ask }) => appRoleLogin(ask, "service")),
  "approle-batch": { ...writes(({ ask }) => appRoleLogin(ask, "batch")), commits: false },
  userpass: writes(({ ask }) => userpassLogin(ask)),
  "token-create": writes((_, root) => repeat(post("auth/token/create", root, { policies: ["bench"], ttl: "1h" }))),
  "token-create-revoke": writes(({ ask }, root) => createAndRevoke(ask, root)),
  "token-lookup": reads(({ token }) => repeat(get("auth/token/lookup-self", token))),
  "token-renew": writes(({ ask }) => renewals(ask)),
};

export const workloadNames: readonly string[] = Object.keys(kinds);

/** Makes mounts, secrets and roles, and gives the workloads of these names. Throws when the server refuses something. */
export async function prepareWorkloads(server: ServerToAsk, names: readonly string[]): Promise<readonly Workload[]> {
  const ask = askAs(server);
  await fill(ask);
  const made = await ask("POST", "auth/token/create", { policies: ["bench"], period: "24h" });
  const prepared = { ask, token: textIn(made, "auth", "client_token") };
  const workloads: Workload[] = [];
  for (const name of names) {
    const kind = kinds[name];
    if (!kind) throw new Error(`there is no workload ${name}`);
    const { make, ...rest } = kind;
    workloads.push({ name, ...rest, next: await make(prepared, server.token) });
  }
  return workloads;
}

async function fill(ask: Ask): Promise<void> {
  await ask("POST", "sys/policies/acl/bench", { policy: POLICY });
  await mount(ask, "mounts/bench-v1", { type: "kv", options: { version: "1" } });
  await mount(ask, "mounts/bench-v2", { type: "kv", options: { version: "2" } });
  for (let n = 0; n < KEYS; n += CONCURRENCY) {
    const some = Array.from({ length: Math.min(CONCURRENCY, KEYS - n) }, (_, i) => n + i);
    await Promise.all(some.map((each) => ask("POST", `bench-v1/${keyOf(each)}`, SECRET)));
    await Promise.all(some.map((each) => ask("POST", `bench-v2/data/${keyOf(each)}`, { data: SECRET })));
  }
  for (let n = 0; n < 10; n++) {
    await ask("POST", `bench-v1/list/k${n}`, SECRET);
    await ask("POST", `bench-v2/data/list/k${n}`, { data: SECRET });
  }
}

/** A mount that is there already, of an earlier run on the same server, is as good. */
async function mount(ask: Ask, path: string, body: object): Promise<void> {
  await ask("POST", `sys/${path}`, body).catch((error: unknown) => {
    if (!String(error).includes("already in use")) throw error;
  });
}

async function appRoleLogin(ask: Ask, type: "service" | "batch"): Promise<() => Buffer> {
  await mount(ask, "auth/bench-approle", { type: "approle" });
  const role = `auth/bench-approle/role/${type}`;
  await ask("POST", role, { token_policies: "bench", token_type: type, token_ttl: "1h" });
  const roleId = textIn(await ask("GET", `${role}/role-id`), "data", "role_id");
  const secretId = textIn(await ask("POST", `${role}/secret-id`, {}), "data", "secret_id");
  return repeat(post("auth/bench-approle/login", "", { role_id: roleId, secret_id: secretId }));
}

async function userpassLogin(ask: Ask): Promise<() => Buffer> {
  await mount(ask, "auth/bench-userpass", { type: "userpass" });
  await ask("POST", "auth/bench-userpass/users/bench", { password: "correct horse", token_policies: "bench" });
  return repeat(post("auth/bench-userpass/login/bench", "", { password: "correct horse" }));
}

/** Of many tokens in turn, as those of many programs: two renewals of one token at once are a conflict. */
async function renewals(ask: Ask): Promise<() => Buffer> {
  const bodies = Array.from({ length: RENEWED }, () => ({ policies: ["bench"], period: "24h" }));
  const requests: Buffer[] = [];
  for (const body of bodies) {
    const token = textIn(await ask("POST", "auth/token/create", body), "auth", "client_token");
    requests.push(post("auth/token/renew-self", token, {}));
  }
  return counted((n) => requests[n % RENEWED] ?? Buffer.alloc(0));
}

/** Every other request makes a token with a name of ours, the next one revokes a token that was made long before. */
async function createAndRevoke(ask: Ask, root: string): Promise<() => Buffer> {
  const run = Date.now().toString(36);
  const body = (n: number) => ({ id: `bench-${run}-${n}`, policies: ["bench"], ttl: "1h" });
  for (let n = -REVOKED_BEHIND; n < 0; n++) await ask("POST", "auth/token/create", body(n));
  return counted((n) => {
    const pair = Math.floor(n / 2);
    if (n % 2 === 0) return post("auth/token/create", root, body(pair));
    return post("auth/token/revoke", root, { token: body(pair - REVOKED_BEHIND).id });
  });
}

function kv2Write(n: number, token: string): Buffer {
  return post(`bench-v2/data/${keyOf(n)}`, token, { data: SECRET });
}

function keyOf(n: number): string {
  return `app/k${(n * STRIDE) % KEYS}`;
}

function get(path: string, token: string): Buffer {
  return requestBytes("GET", `/v1/${path}`, token, "");
}

function post(path: string, token: string, body: object): Buffer {
  return requestBytes("POST", `/v1/${path}`, token, JSON.stringify(body));
}

function repeat(request: Buffer): () => Buffer {
  return () => request;
}

function counted(make: (n: number) => Buffer): () => Buffer {
  let n = 0;
  return () => make(n++);
}

function askAs({ address, token }: ServerToAsk): Ask {
  return async (method, path, body) => {
    const response = await fetch(`${address}/v1/${path}`, {
      method,
      headers: { "X-Vault-Token": token },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status} ${text}`);
    const answer = text === "" ? {} : parseJson(text);
    return isJsonObject(answer) ? answer : {};
  };
}

function textIn(answer: JsonObject, part: string, name: string): string {
  const inner = answer[part];
  const value = isJsonObject(inner) ? inner[name] : undefined;
  if (typeof value !== "string") throw new Error(`the answer has no ${part}.${name}`);
  return value;
}
