// A limit between the bare responder and the server: node:http with nothing but the work that an audited read of a KV
// secret cannot be without, written down straight: the token's HMAC, five records looked at in LMDB (token, mount,
// policy, the secret's versions, the secret), one of them decrypted (the others are known by their version), two lines of
// the audit log with the HMACs of what is secret, chained, on their way to the file before the answer leaves, in one
// write for all requests of a turn. No routing, no ACL, no limits, no errors. Prints its port.
import { createDecipheriv, createHmac, createSecretKey, hash, type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync, openSync, rmSync, write } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import { sealEnvelope } from "#server/barrier/envelope.ts";

const RECORDS = ["token", "mount", "policy", "versions", "secret"];
const RECORD_BYTES = 600;
const NONCE_AT = 5;
const TEXT_AT = NONCE_AT + 12;
const TAG_BYTES = 16;

const folder = mkdtempSync(join(tmpdir(), "coffer-bench-"));
process.once("SIGTERM", () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit();
});
const key = createSecretKey(randomBytes(32));
const store = await filledStore(key);
const log = openSync(join(folder, "audit.log"), "a");
let waiting: { lines: string; send: () => void }[] = [];
let previous = "";

const server = createServer((message, response) => {
  const token = hmac(String(message.headers["x-vault-token"]));
  const path = decodeURIComponent(message.url ?? "").slice("/v1/".length);
  for (const record of RECORDS.slice(0, -1)) store.getBinaryFast(record);
  const data: unknown = JSON.parse(decrypted(store.getBinary("secret")).toString("utf8"));
  const id = crypto.randomUUID();
  const metadata = { created_time: new Date().toISOString(), deletion_time: "", version: 1, custom_metadata: null };
  const auth = { client_token: token, accessor: token, policies: ["bench", "default"], token_type: "service" };
  const request = { id, operation: "read", path, client_token: token, remote_address: "127.0.0.1", mount_type: "kv" };
  const asked = chained({ time: new Date().toISOString(), type: "request", auth, request });
  const hidden = {
    data: { password: hmac("x".repeat(64)) },
    metadata: { ...metadata, created_time: hmac(metadata.created_time), deletion_time: hmac("") },
  };
  const answered = chained({ time: new Date().toISOString(), type: "response", auth, request, response: hidden });
  const body = JSON.stringify({ request_id: id, lease_id: "", renewable: false, data: { data, metadata }, auth: null });
  const send = () =>
    response
      .writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) })
      .end(body);
  if (waiting.push({ lines: asked + answered, send }) === 1) setImmediate(writeWaiting);
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) console.log(`listening ${address.port}`);
});

function writeWaiting(): void {
  const batch = waiting;
  waiting = [];
  write(log, batch.map(({ lines }) => lines).join(""), (error) => {
    if (error) throw error;
    for (const { send } of batch) send();
  });
}

function hmac(text: string): string {
  return createHmac("sha256", key).update(text).digest("hex");
}

function chained(entry: object): string {
  const covered = `${JSON.stringify(entry).slice(0, -1)},"previous":"${previous}"`;
  previous = createHmac("sha256", key)
    .update(hash("sha256", covered, "buffer"))
    .digest("base64url");
  return `${covered},"mac":"${previous}"}\n`;
}

function decrypted(envelope: Buffer | undefined): Buffer {
  if (!envelope) throw new Error("the record is not there");
  const decipher = createDecipheriv("aes-256-gcm", key, envelope.subarray(NONCE_AT, TEXT_AT), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(Buffer.from("secret"));
  decipher.setAuthTag(envelope.subarray(-TAG_BYTES));
  const plaintext = decipher.update(envelope.subarray(TEXT_AT, -TAG_BYTES));
  decipher.final();
  return plaintext;
}

async function filledStore(under: KeyObject) {
  const store = open<Buffer, string>({ path: folder, encoding: "binary", noSubdir: false });
  const secret = Buffer.from(JSON.stringify({ password: "x".repeat(64) }));
  for (const record of RECORDS) {
    const plaintext = record === "secret" ? secret : randomBytes(RECORD_BYTES);
    await store.put(record, Buffer.from(sealEnvelope(under, 1, record, plaintext)));
  }
  return store;
}
