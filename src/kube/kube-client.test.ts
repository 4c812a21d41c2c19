import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { createKubeClient, type KubeClient, LIST_PAGE_OBJECTS } from "./kube-client.ts";
import { endpointSourceOf, openKubeEndpoint } from "./kube-endpoint.ts";
import { isExpired, KubeError } from "./kube-error.ts";
import { CONFIG_MAP, NAMESPACE, SECRET } from "./resource-kinds.ts";

let server: FakeApiServer;
let client: KubeClient;
beforeEach(async () => {
  server = await startFakeApiServer();
  client = await createKubeClient({
    source: { from: "values", server: server.url, token: "t-1" },
    fieldManager: "coffer-test",
  });
});
afterEach(async () => {
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

const REF = { namespace: "a", name: "one" };
const configMap = (name: string, data: Record<string, string> = {}) => ({ metadata: { namespace: "a", name }, data });

async function failure(work: Promise<unknown>): Promise<KubeError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof KubeError)) throw new Error(`wanted a KubeError, got ${String(error)}`);
  return error;
}

describe("the verbs", () => {
  it("gives undefined for an object that is not there", async () => {
    expect(await client.get(CONFIG_MAP, REF)).toBeUndefined();
  });
  it("throws when the kind itself is unknown", async () => {
    server.intercept((_request, response) => {
      response.writeHead(404).end("404 page not found");
      return true;
    });
    expect((await failure(client.get(CONFIG_MAP, REF))).reason).toBe("NotFound");
  });
  it("creates, reads with the token, and refuses a second creation", async () => {
    await client.create(CONFIG_MAP, configMap("one", { k: "v" }));
    expect((await client.get(CONFIG_MAP, REF))?.["data"]).toEqual({ k: "v" });
    expect(server.requests[0]?.headers.authorization).toBe("Bearer t-1");
    const error = await failure(client.create(CONFIG_MAP, configMap("one")));
    expect([error.status, error.reason, error.code]).toEqual([409, "AlreadyExists", "conflict"]);
  });
  it("applies with its field manager and by force", async () => {
    await client.apply(CONFIG_MAP, configMap("one", { k: "v" }));
    const [request] = server.requests;
    expect(request?.headers["content-type"]).toBe("application/apply-patch+yaml");
    expect(request?.query.get("fieldManager")).toBe("coffer-test");
    expect(request?.query.get("force")).toBe("true");
    expect(request?.body).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
  });
  it("writes only the status through applyStatus", async () => {
    await client.apply(CONFIG_MAP, configMap("one", { k: "v" }));
    await client.applyStatus(CONFIG_MAP, { metadata: REF, status: { ready: true } });
    const stored = server.stored("/api/v1/namespaces/a/configmaps/one");
    expect([stored?.["data"], stored?.["status"]]).toEqual([{ k: "v" }, { ready: true }]);
  });
  it("replaces only the version it has seen", async () => {
    const first = await client.create(CONFIG_MAP, configMap("one"));
    await client.mergePatch(CONFIG_MAP, REF, { data: { other: "x" } });
    expect((await failure(client.replace(CONFIG_MAP, first))).reason).toBe("Conflict");
  });
  it("deletes under preconditions and tells what was absent", async () => {
    const made = await client.create(CONFIG_MAP, configMap("one"));
    expect((await failure(client.delete(CONFIG_MAP, REF, { uid: "another" }))).reason).toBe("Conflict");
    expect(await client.delete(CONFIG_MAP, REF, { uid: made.metadata.uid, propagation: "Foreground" })).toBe("deleted");
    expect(server.requests.at(-1)?.body).toMatchObject({ propagationPolicy: "Foreground" });
    expect(await client.delete(CONFIG_MAP, REF)).toBe("absent");
  });
  it("lists in pages and fills in what items lack", async () => {
    for (let i = 0; i < LIST_PAGE_OBJECTS + 1; i++) server.put(`/api/v1/namespaces/a/configmaps/c${i}`, {});
    const list = await client.list(CONFIG_MAP, { namespace: "a" });
    expect(list.items.length).toBe(LIST_PAGE_OBJECTS + 1);
    expect(list.items[0]?.kind).toBe("ConfigMap");
    expect(server.requests.map((request) => request.query.get("continue"))).toEqual([null, "500"]);
  });
  it("lists in one piece when the continue token has expired", async () => {
    for (let i = 0; i < LIST_PAGE_OBJECTS + 1; i++) server.put(`/api/v1/namespaces/a/configmaps/c${i}`, {});
    server.intercept((request, response) => {
      if (!request.query.has("continue")) return false;
      response.writeHead(410).end(JSON.stringify({ kind: "Status", reason: "Expired", code: 410 }));
      return true;
    });
    expect((await client.list(CONFIG_MAP)).items.length).toBe(LIST_PAGE_OBJECTS + 1);
  });
  it("refuses a namespaced kind without and a cluster-wide kind with a namespace", async () => {
    await expect(client.get(CONFIG_MAP, { name: "one" })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(client.get(NAMESPACE, REF)).rejects.toMatchObject({ code: "invalid_request" });
  });
});

describe("a watch", () => {
  const watch = async (lines: string) => {
    server.intercept((_request, response) => {
      response.writeHead(200).end(lines);
      return true;
    });
    const options = { resourceVersion: "5", timeoutSeconds: 45, signal: new AbortController().signal };
    return Array.fromAsync(client.watch(CONFIG_MAP, options));
  };
  const added = JSON.stringify({ type: "ADDED", object: { metadata: { name: "one", resourceVersion: "6" } } });

  it("asks for bookmarks and a planned end, and gives events", async () => {
    const bookmark = '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}';
    const events = await watch(`${added}\n${bookmark}\n`);
    expect(events.map(({ type, object }) => [type, object.metadata.resourceVersion])).toEqual([
      ["ADDED", "6"],
      ["BOOKMARK", "9"],
    ]);
    expect(Object.fromEntries(server.requests[0]?.query ?? [])).toEqual({
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: "5",
      timeoutSeconds: "45",
    });
  });
  it("throws what the server says inside it", async () => {
    const status = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
    const error = await failure(watch(`${JSON.stringify({ type: "ERROR", object: status })}\n`));
    expect(isExpired(error)).toBe(true);
  });
  it("leaves out an event that was cut off", async () => {
    expect((await watch(`${added}\n${added.slice(0, 20)}`)).length).toBe(1);
  });
});

describe("failures", () => {
  it("repeats what the server was too busy for", async () => {
    let refusals = 2;
    server.intercept((_request, response) => {
      if (refusals-- <= 0) return false;
      response.writeHead(429, { "retry-after": "0" }).end();
      return true;
    });
    await client.create(CONFIG_MAP, configMap("one"));
    expect(server.requests.length).toBe(3);
  });
  it("repeats a read after a lost connection but never a creation", async () => {
    server.put("/api/v1/namespaces/a/configmaps/one", {});
    let cuts = 1;
    server.intercept((_request, response) => {
      if (cuts-- <= 0) return false;
      response.destroy();
      return true;
    });
    expect((await client.get(CONFIG_MAP, REF))?.metadata.name).toBe("one");
    cuts = 1;
    expect((await failure(client.create(CONFIG_MAP, configMap("two")))).status).toBe(0);
  });
  it("gives up after its time limit", async () => {
    const clock = new FakeClock();
    using slow = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "x", clock });
    server.intercept(() => true);
    const waiting = failure(slow.get(CONFIG_MAP, REF));
    while (server.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(30_000);
    expect((await waiting).reason).toBe("Timeout");
  });
  it("says nothing of what a refused Secret holds", async () => {
    server.intercept((_request, response) => {
      const status = { kind: "Status", code: 400, reason: "BadRequest", message: 'found near {"data":{"k":"hunter2"' };
      response.writeHead(400).end(JSON.stringify(status));
      return true;
    });
    expect((await failure(client.apply(SECRET, { metadata: REF }))).message).not.toContain("hunter2");
    expect((await failure(client.apply(CONFIG_MAP, { metadata: REF }))).message).toContain("found near");
  });
});

describe("the endpoint", () => {
  it("reads the pod's token again after it was replaced", async () => {
    const directory = await mkdtemp(join(tmpdir(), "coffer-kube-"));
    try {
      await writeFile(join(directory, "ca.crt"), "CA");
      await writeFile(join(directory, "token"), "one\n");
      const clock = new FakeClock();
      const source = { from: "pod", host: "fd00::1", port: "443", directory } as const;
      using endpoint = await openKubeEndpoint(source, clock);
      expect(endpoint.server.href).toBe("https://[fd00::1]/");
      expect(await endpoint.requestOptions()).toMatchObject({ ca: "CA", headers: { authorization: "Bearer one" } });
      await writeFile(join(directory, "token"), "two\n");
      await clock.advance(60_000);
      expect(await endpoint.requestOptions()).toMatchObject({ headers: { authorization: "Bearer two" } });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
  it("loads a kubeconfig with its certificate authority and token", async () => {
    const directory = await mkdtemp(join(tmpdir(), "coffer-kube-"));
    try {
      const path = join(directory, "config");
      await writeFile(path, kubeconfig(Buffer.from("THE CA").toString("base64")));
      using endpoint = await openKubeEndpoint({ from: "kubeconfig", path }, new FakeClock());
      expect(endpoint.server.href).toBe("https://192.0.2.1:6443/base");
      const options = await endpoint.requestOptions();
      expect(String(options.ca)).toBe("THE CA");
      expect(options.headers).toEqual({ Authorization: "Bearer t-9" });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
  it("chooses its source from the environment", () => {
    expect(endpointSourceOf({ KUBECONFIG: "/x" })).toEqual({ from: "kubeconfig", path: "/x" });
    expect(endpointSourceOf({ KUBERNETES_SERVICE_HOST: "h" })).toEqual({ from: "pod", host: "h", port: "443" });
    expect(() => endpointSourceOf({})).toThrow("KUBECONFIG");
  });
});

function kubeconfig(ca: string): string {
  return `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://192.0.2.1:6443/base", certificate-authority-data: "${ca}"}}]
users: [{name: u, user: {token: t-9}}]
`;
}
