// A server in this process that was initialised, sealed, unsealed by AWS KMS and given a second term; then the heap is
// written to a file and looked through for its keys as text. Bytes of buffers are not in such a file, strings are, those
// that nobody needs any more excepted. Prints which keys were found:
//   KMS=http://… ACCESS=… SECRET=… node test/kit/key-heap.ts FILE
import { createReadStream } from "node:fs";
import { writeHeapSnapshot } from "node:v8";
import { systemClock } from "#common/clock.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { KEYRING_KEY, Keyring } from "#server/barrier/keyring.ts";
import { findSealType } from "#server/seal/registry.ts";
import { startInProcessServer } from "./in-process-server.ts";

const [file = ""] = process.argv.slice(2);
const text = (name: string) => process.env[name] ?? "";
const stanza = { region: "eu-central-1", kms_key_id: "alias/coffer", endpoint: text("KMS") };
const seal = await findSealType("awskms").parse(
  { ...stanza, access_key: text("ACCESS"), secret_key: text("SECRET") },
  {
    ...{ clusterName: "main", clock: systemClock, environment: () => undefined },
    readFile: () => Promise.reject(new Error("no file")),
  },
);
const { server, storage } = await startInProcessServer({ seals: [seal] });
const { node, barrier } = server.services;
await node.seal();
await node.tryAutoUnseal();
const rotation = barrier.begin();
barrier.rotate(rotation);
await rotation.commit();

// The control: what a key looks like when it was kept as text.
const planted = SecretBytes.random(32);
const kept = [planted.expose().toString("base64"), planted.expose().toString("hex")];
writeHeapSnapshot(file);

const rootKey = barrier.cloneRootKey();
const [stored] = await storage.get([KEYRING_KEY]);
const keyring = Keyring.open(stored?.value ?? Buffer.alloc(0), rootKey.toKeyObject());
const terms = [1, 2].map((term) => keyring?.keyOf(term)?.export() ?? Buffer.alloc(0));
const found: string[] = [];
for (const [name, bytes] of [
  ["planted", planted.expose()],
  ["root key", rootKey.expose()],
  ...terms.map((term, i) => [`term ${i + 1}`, term] as const),
] as const)
  if (bytes.length === 32 && (await holds(file, [bytes.toString("base64"), bytes.toString("hex")]))) found.push(name);
process.stdout.write(
  JSON.stringify({ found, terms: terms.map(({ length }) => length), kept: kept.length, state: node.state }),
);
process.exit(0);

async function holds(path: string, needles: readonly string[]): Promise<boolean> {
  let rest = "";
  for await (const chunk of createReadStream(path, "latin1")) {
    const block = rest + String(chunk);
    if (needles.some((needle) => block.includes(needle))) return true;
    rest = block.slice(-200);
  }
  return false;
}
