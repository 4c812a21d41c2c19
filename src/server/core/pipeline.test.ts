import { mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { createProbe, type Probe } from "#test/kit/probe-engine.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { CommitBatch, Storage } from "../storage/storage.ts";
import { steps } from "./pipeline.ts";

const folders: string[] = [];
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true, force: true })));
});

interface Line {
  readonly type: string;
  readonly error?: string;
  readonly request: { readonly path: string; readonly id: string; readonly operation: string };
}

interface Audited {
  readonly core: Core;
  readonly probe: Probe;
  lines(path?: string): Promise<readonly Line[]>;
  /** Takes the file's folder away, and gives it back. */
  breakDevice(): Promise<void>;
  mendDevice(): Promise<void>;
}

async function startAudited(storage: Storage = openMemoryStorage()): Promise<Audited> {
  const folder = await mkdtemp(join(tmpdir(), "coffer-audit-"));
  folders.push(folder, `${folder}-away`);
  const probe = createProbe();
  const core = await startCore({ engines: [probe.type], storage });
  await core.root("update", "sys/mounts/p", { type: "probe" });
  const file = join(folder, "audit.log");
  await core.root("update", "sys/audit/file", { type: "file", options: { file_path: file } });
  return {
    core,
    probe,
    async lines(path) {
      const text = await readFile(file, "utf8");
      const all = text
        .trim()
        .split("\n")
        .map((line): Line => JSON.parse(line));
      return path === undefined ? all : all.filter(({ request }) => request.path === path);
    },
    async breakDevice() {
      await rename(folder, `${folder}-away`);
      await core.clock.advance(100); // the file device looks at the name ten times a second
    },
    mendDevice: () => rename(`${folder}-away`, folder),
  };
}

async function startProbe(storage?: Storage): Promise<{ core: Core; probe: Probe }> {
  const probe = createProbe();
  const core = await startCore({ engines: [probe.type], ...(storage && { storage }) });
  await core.root("update", "sys/mounts/p", { type: "probe" });
  return { core, probe };
}

describe("the steps of a request", () => {
  it("follow one another in this order, which is a security property", () => {
    expect(steps.map(({ name }) => name)).toEqual([
      "namespace",
      "resolve",
      "readiness",
      "authenticate",
      "quotas",
      "authorise",
      "audit-request",
      "hold",
      "handle",
      "perform",
      "issue",
      "wrap",
    ]);
  });

  it("stop at the one that refuses", async () => {
    const { core } = await startProbe();
    const weak = await core.token({ policies: ["default"] });
    expect((await core.send("", "update", "p/run/a")).status).toBe(403);
    expect((await core.send("hvs.none", "update", "p/run/a")).status).toBe(403);
    expect((await core.send(weak, "update", "p/run/a")).status).toBe(403);
    expect((await core.send(weak, "read", "nowhere/a")).status).toBe(403);
    expect((await core.send(core.rootToken, "read", "nowhere/a")).status).toBe(404);
    expect((await core.send(core.rootToken, "read", "p/run/a")).status).toBe(404);
  });
});

describe("one request, one transaction", () => {
  it("leaves nothing behind when the handler fails after writing", async () => {
    const { core } = await startProbe();
    const before = await core.dump("mount/");
    const reply = await core.send(core.rootToken, "update", "p/run/a", { fail: true });
    expect([reply.status, reply.error]).toEqual([400, "failed as it was told"]);
    expect(await core.dump("mount/")).toEqual(before);
  });

  it("runs again when what it read has changed meanwhile, and loses no write", async () => {
    const { core, probe } = await startProbe();
    const writers = 24;
    probe.during = () => new Promise((resolve) => setImmediate(resolve));
    const replies = await Promise.all(
      Array.from({ length: writers }, () => core.send(core.rootToken, "update", "p/run/a")),
    );
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([204]));
    expect((await core.root("read", "p/run/a")).data).toEqual({ count: writers });
  });

  it("gives up with an answer when it never gets through", async () => {
    const { core, probe } = await startProbe();
    let runs = 0;
    probe.during = async () => {
      runs++;
      const { during } = probe;
      probe.during = async () => {};
      await core.root("update", "p/run/a");
      probe.during = during;
    };
    const reply = await core.send(core.rootToken, "update", "p/run/a");
    expect(reply.status).toBe(503);
    expect(runs).toBe(40);
    expect((await core.root("read", "p/run/a")).data).toEqual({ count: runs });
  });

  it.each<[string, (core: Core, token: string) => Promise<unknown>]>([
    ["its policy is taken away", (core) => core.policy("runner", 'path "p/*" { capabilities = ["deny"] }')],
    ["its token is revoked", (core, token) => core.root("update", "auth/token/revoke", { token })],
    ["its mount is disabled", (core) => core.root("delete", "sys/mounts/p")],
  ])("is not committed when %s while it runs", async (_what, change) => {
    const { core, probe } = await startProbe();
    await core.policy("runner", 'path "p/*" { capabilities = ["create", "read", "update"] }');
    const token = await core.token({ policies: ["runner"] });
    probe.during = async () => {
      probe.during = async () => {};
      await change(core, token);
    };
    expect((await core.send(token, "update", "p/run/a")).status).toBeGreaterThanOrEqual(403);
    await core.settle();
    expect([...(await core.dump("mount/")).keys()].filter((key) => key.endsWith("run/a"))).toEqual([]);
  });

  it("answers that the server is sealed when it is sealed while it runs", async () => {
    const { core, probe } = await startProbe();
    probe.during = async () => core.services.node.seal();
    expect((await core.send(core.rootToken, "update", "p/run/a")).status).toBe(503);
    await core.services.node.tryAutoUnseal();
    expect((await core.send(core.rootToken, "read", "p/run/a")).status).toBe(404);
  });

  it("tells nothing of a fault of the server's own", async () => {
    const { core, probe } = await startProbe();
    probe.during = () => Promise.reject(new Error("the inner workings"));
    const reply = await core.send(core.rootToken, "update", "p/run/a");
    expect(reply.status).toBe(500);
    expect(reply.text).not.toContain("inner workings");
  });
});

describe("the audit of a request", () => {
  it("has the request before the handler runs and the response before the answer", async () => {
    const { core, probe, lines } = await startAudited();
    let seen: readonly string[] = [];
    probe.during = async () => {
      seen = (await lines("p/run/a")).map(({ type }) => type);
    };
    await core.root("update", "p/run/a");
    expect(seen).toEqual(["request"]);
    expect((await lines("p/run/a")).map(({ type }) => type)).toEqual(["request", "response"]);
  });

  it("has one request line however often the transaction runs", async () => {
    const { core, probe, lines } = await startAudited();
    probe.during = async () => {
      probe.during = async () => {};
      await core.root("update", "p/run/a");
    };
    await core.root("update", "p/run/a");
    const ids = (await lines("p/run/a")).map(({ type, request }) => `${type} ${request.id}`);
    expect(new Set(ids).size).toBe(4);
    expect(ids).toHaveLength(4);
  });

  it.each<[string, string, number]>([
    ["without a token", "", 403],
    ["with a token that is none", "hvs.none", 403],
  ])("has both lines of a request that is refused %s", async (_what, token, status) => {
    const { core, lines } = await startAudited();
    expect((await core.send(token, "update", "p/run/a")).status).toBe(status);
    expect((await lines("p/run/a")).map(({ type, error }) => [type, error])).toEqual([
      ["request", undefined],
      ["response", "permission denied"],
    ]);
  });

  it("refuses everything and commits nothing while no device takes lines", async () => {
    const { core, breakDevice, mendDevice } = await startAudited();
    await breakDevice();
    expect((await core.send(core.rootToken, "update", "p/run/a")).status).toBe(500);
    expect((await core.send(core.rootToken, "read", "sys/mounts")).status).toBe(500);
    expect((await core.send("", "read", "sys/health")).status).toBe(200);
    await mendDevice();
    expect((await core.send(core.rootToken, "read", "p/run/a")).status).toBe(404);
  });

  it("goes on as long as one device takes lines", async () => {
    const { core, breakDevice } = await startAudited();
    await core.root("update", "sys/audit/other", { type: "file", options: { file_path: "discard" } });
    await breakDevice();
    expect((await core.send(core.rootToken, "update", "p/run/a")).status).toBe(204);
  });

  it("keeps back the answer when its line is refused, though the change is made", async () => {
    const { core, probe, breakDevice, mendDevice } = await startAudited();
    await core.policy("maker", 'path "*" { capabilities = ["create", "read", "update", "sudo"] }');
    const token = await core.token({ policies: ["maker"], num_uses: 5 });
    probe.during = breakDevice;
    const reply = await core.send(token, "update", "p/run/a");
    expect(reply.status).toBe(500);
    expect(reply.text).toBe('{"errors":["no audit device accepted the entry; see the server\'s log for the cause"]}\n');
    await mendDevice();
    probe.during = async () => {};
    expect((await core.root("read", "p/run/a")).data).toEqual({ count: 1 });
    // The use is counted once: 5 - 1 - this one.
    expect((await core.send(token, "read", "auth/token/lookup-self")).data["num_uses"]).toBe(3);
  });
});

describe("when storage fails", () => {
  it("the request fails, and the next one is answered", async () => {
    const inner = openMemoryStorage();
    let failing = false;
    const commit = inner.commit.bind(inner);
    inner.commit = (batch: CommitBatch) => (failing ? Promise.reject(new Error("disk")) : commit(batch));
    const { core } = await startProbe(inner);
    failing = true;
    expect((await core.send(core.rootToken, "update", "p/run/a")).status).toBe(500);
    failing = false;
    expect((await core.send(core.rootToken, "update", "p/run/a")).status).toBe(204);
    expect((await core.root("read", "p/run/a")).data).toEqual({ count: 1 });
  });
});

describe("wrapped answers and uses", () => {
  it("count in the same commit as what they stand for", async () => {
    const { core } = await startProbe();
    const before = (await core.dump("core/token/id/")).size;
    const refused = await core.send(core.rootToken, "update", "p/run/a", { fail: true }, { wrapTtlSeconds: 60 });
    expect(refused.status).toBe(400);
    expect((await core.dump("core/token/id/")).size).toBe(before);
    const wrapped = await core.root("read", "sys/mounts", {}, { wrapTtlSeconds: 60 });
    expect(textOf(Object(wrapped.body["wrap_info"]), "token")).toMatch(/^hvs\./);
  });
});
