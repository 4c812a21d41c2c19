// Prints how many bytes of heap a request of each kind allocates, as JSON. Run with --expose-gc and a young generation
// that takes all requests of a measurement, so that nothing is collected meanwhile. The server is in this process, on
// storage in memory: HTTP and LMDB are not in it.
import { startCore, textOf } from "#test/kit/core.ts";

/** Enough for the compiler to have made up its mind. */
const WARM_UP = 2_000;
const REQUESTS = 200;
const ROUNDS = 3;

const core = await startCore();
await core.root("update", "sys/audit/file", { type: "file", options: { file_path: "discard" } });
await core.root("update", "sys/mounts/v1", { type: "kv" });
await core.root("update", "sys/mounts/v2", { type: "kv", options: { version: "2" } });
await core.root("update", "v1/app/k", { a: "one", b: "two" });
await core.root("update", "v2/data/app/k", { data: { a: "one", b: "two" } });
await core.policy("app", 'path "v1/*" { capabilities = ["read"] }\npath "v2/*" { capabilities = ["read", "update"] }');
const token = await core.token({ policies: ["app"] });
await core.root("update", "sys/auth/approle", { type: "approle" });
await core.root("update", "auth/approle/role/batch", { token_policies: "app", token_type: "batch" });
const login = {
  role_id: textOf((await core.root("read", "auth/approle/role/batch/role-id")).data, "role_id"),
  secret_id: textOf((await core.root("update", "auth/approle/role/batch/secret-id")).data, "secret_id"),
};
const kinds = {
  "seal status": () => core.send("", "read", "sys/seal-status"),
  "KV v1 read": () => core.send(token, "read", "v1/app/k"),
  "KV v2 read": () => core.send(token, "read", "v2/data/app/k"),
  "KV v2 write": () => core.send(token, "update", "v2/data/app/k", { data: { a: "one", b: "two" } }),
  "token lookup-self": () => core.send(token, "read", "auth/token/lookup-self"),
  "AppRole login, batch token": () => core.send("", "update", "auth/approle/login", login),
};
const bytes: Record<string, number> = {};
for (const [name, send] of Object.entries(kinds)) {
  for (let n = 0; n < WARM_UP; n++) await send();
  const seen: number[] = [];
  for (let round = 0; round < ROUNDS; round++) seen.push(await measured(send));
  bytes[name] = seen.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
}
console.log(JSON.stringify(bytes));

async function measured(send: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < REQUESTS; n++) await send();
  return Math.round((process.memoryUsage().heapUsed - before) / REQUESTS);
}
