// Looks for what must not be at rest: every Secret and ConfigMap of the cluster, and the server's data directory byte by
// byte. To know what to look for in the directory, the test opens it as the server does, with the key from the KMS.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import type { JsonValue } from "#common/json.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { createLog } from "#common/log.ts";
import { list, object, string } from "#common/schema.ts";
import { KEYRING_KEY, Keyring } from "#server/barrier/keyring.ts";
import { readSeal } from "#server/core/seal-store.ts";
import { awsKmsSealType } from "#server/seal/awskms/awskms-seal.ts";
import { findStorageKind } from "#server/storage/registry.ts";
import { KMS_CREDENTIALS, KMS_REGION } from "./kms.ts";
import { at, type Kubectl, listAt, textAt } from "./objects.ts";

/** A token of the API (service, batch or recovery), in today's form and in the old one. */
const TOKEN = /\b(?:hv[sbr]\.[A-Za-z0-9_-]{20,}|[sbr]\.[A-Za-z0-9]{20,})\b/;
/** Members and words under which keys and tokens are commonly kept. */
const TELLING_NAME = /root.?token|unseal.?key|recovery.?key|vault-root|vault-unseal/i;

/** Every text within a Secret or ConfigMap, base64 decoded where it is base64, with where it is. */
function textsOf(kind: string, holder: JsonValue): readonly { where: string; text: string }[] {
  const name = `${kind} ${textAt(holder, "metadata", "namespace")}/${textAt(holder, "metadata", "name")}`;
  return ["data", "binaryData"].flatMap((member) => {
    const data = at(holder, member);
    if (!isJsonObject(data)) return [];
    return Object.entries(data).flatMap(([key, value]) => {
      const text = typeof value === "string" ? value : "";
      const decoded = Buffer.from(text, "base64").toString("latin1");
      return [text, decoded, Buffer.from(decoded, "base64").toString("latin1")].map((each) => ({
        where: `${name} key ${key}`,
        text: `${key}\n${each}`,
      }));
    });
  });
}

/** Where in the cluster's Secrets and ConfigMaps there is a token, a name that tells of keys, or one of the values. */
export async function leaksInCluster(kubectl: Kubectl, values: readonly string[]): Promise<readonly string[]> {
  const kinds = ["secrets", "configmaps"];
  const found = await Promise.all(
    kinds.map(async (kind) => {
      const holders = await kubectl.list(kind, "--all-namespaces");
      return holders.flatMap((holder) => textsOf(kind, holder));
    }),
  );
  const leaks = found.flat().filter(({ text }) => {
    return TOKEN.test(text) || TELLING_NAME.test(text) || values.some((value) => text.includes(value));
  });
  return [...new Set(leaks.map(({ where }) => where))];
}

/** Containers of Coffer's own whose log holds a token or one of the values, as namespace/pod/container. */
export async function leaksInLogs(
  kubectl: Kubectl,
  namespaces: readonly string[],
  values: readonly string[],
): Promise<{ readonly read: number; readonly leaks: readonly string[] }> {
  const leaks: string[] = [];
  let read = 0;
  for (const namespace of namespaces) {
    for (const pod of await kubectl.list("pods", "-n", namespace)) {
      const spec = at(pod, "spec");
      for (const container of [...listAt(spec, "initContainers"), ...listAt(spec, "containers")]) {
        const name = textAt(container, "name");
        // The workloads of the story print what they received; that is their purpose.
        if (name === "app") continue;
        const log = await kubectl.run("logs", "-n", namespace, textAt(pod, "metadata", "name"), "-c", name);
        read += log.length;
        const isLeaking = TOKEN.test(log) || values.some((value) => log.includes(value));
        if (isLeaking) leaks.push(`${namespace}/${textAt(pod, "metadata", "name")}/${name}`);
      }
    }
  }
  return { read, leaks };
}

/** "name: key, key" of every Secret in the namespace, in order. */
export async function secretsOf(kubectl: Kubectl, namespace: string): Promise<readonly string[]> {
  const secrets = await kubectl.list("secrets", "-n", namespace);
  return secrets
    .filter((secret) => textAt(secret, "type") !== "helm.sh/release.v1")
    .map((secret) => {
      const data = at(secret, "data");
      const keys = isJsonObject(data) ? Object.keys(data).sort() : [];
      return `${textAt(secret, "metadata", "name")}: ${keys.join(", ")}`;
    })
    .sort();
}

const copied = list(object({ path: string, base64: string }));
const READ_ALL = `
  const fs = require("node:fs");
  const files = fs.readdirSync("/coffer/data", { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  const read = ({ parentPath, name }) => ({
    path: (parentPath + "/" + name).slice("/coffer/data/".length),
    base64: fs.readFileSync(parentPath + "/" + name).toString("base64"),
  });
  process.stdout.write(JSON.stringify(files.map(read)));
`;

/** The server's data directory, as it is on its volume. */
export class RawData {
  readonly #folder: string;
  readonly bytes: Buffer;
  readonly paths: readonly string[];
  private constructor(folder: string, files: readonly { path: string; bytes: Buffer }[]) {
    this.#folder = folder;
    this.bytes = Buffer.concat(files.map(({ bytes }) => bytes));
    this.paths = files.map(({ path }) => path);
  }

  /** Copies it out of a server pod that is not writing. */
  static async copy(kubectl: Kubectl, namespace: string, pod: string, folder: string): Promise<RawData> {
    const answer = parseJson(await kubectl.node(namespace, pod, "server", READ_ALL));
    const files = copied
      .parse(answer, "files")
      .map(({ path, base64 }) => ({ path, bytes: Buffer.from(base64, "base64") }));
    for (const { path, bytes } of files) {
      mkdirSync(join(folder, path, ".."), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
    return new RawData(folder, files);
  }

  /** Whether the bytes are there, as they are or as base64 or hexadecimal digits. */
  holds(value: Uint8Array): boolean {
    const bytes = Buffer.from(value);
    const forms = [
      bytes,
      bytes.toString("base64").replace(/=+$/, ""),
      bytes.toString("base64url"),
      bytes.toString("hex"),
    ];
    return forms.some((form) => this.bytes.includes(form));
  }

  /** The root key and all keys of the keyring, opened as the server opens them: with the KMS. */
  async keys(endpoint: string, clusterName: string): Promise<readonly { name: string; bytes: Buffer }[]> {
    const kind = findStorageKind("lmdb");
    if (kind === undefined) throw new Error("there is no storage of the kind lmdb");
    const log = createLog({ level: "error", format: "text", write: () => undefined, now: () => systemClock.now() });
    const storage = await kind.open({ path: this.#folder }, { log, clock: systemClock });
    try {
      const stored = await readSeal(storage);
      const [wrapped] = stored?.keys.root ?? [];
      if (wrapped === undefined) throw new Error("the directory holds no wrapped root key");
      const seal = await awsKmsSealType.parse(sealStanza(endpoint, wrapped.keyId), {
        clusterName,
        clock: systemClock,
        readFile: () => Promise.reject(new Error("no file")),
        environment: () => undefined,
      });
      if (seal.kind !== "auto") throw new Error("awskms is an auto seal");
      using rootKey = await seal.unwrap(wrapped, "root-key");
      await seal.close();
      const [entry] = await storage.get([KEYRING_KEY]);
      const keyring = entry && Keyring.open(entry.value, rootKey.toKeyObject());
      if (keyring === undefined) throw new Error("the root key does not open the keyring");
      const terms = keyring.terms.map(({ term }) => ({ name: `key of term ${term}`, bytes: exported(keyring, term) }));
      return [{ name: "root key", bytes: Buffer.from(rootKey.expose()) }, ...terms];
    } finally {
      await storage.close();
    }
  }
}

function exported(keyring: Keyring, term: number): Buffer {
  const key = keyring.keyOf(term);
  if (key === undefined) throw new Error(`the keyring lacks its own term ${term}`);
  return key.export();
}

function sealStanza(endpoint: string, keyId: string) {
  const { accessKeyId, secretAccessKey } = KMS_CREDENTIALS;
  return { kms_key_id: keyId, region: KMS_REGION, endpoint, access_key: accessKeyId, secret_key: secretAccessKey };
}
