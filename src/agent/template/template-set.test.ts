// Templates in the agent, from its configuration to the file: what they ask the server for, and what stands in the way.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { HastyClock } from "#test/hasty-clock.ts";
import {
  authBlock,
  enveloped,
  refused,
  type ScriptedAnswer,
  type SeenRequest,
  startScriptedApi,
} from "#test/scripted-api.ts";
import { run } from "../main.ts";
import { REQUESTS_MAX, ROUNDS_MAX } from "./template-set.ts";

const MOUNTS: Readonly<Record<string, JsonObject>> = {
  secret: { path: "secret/", type: "kv", options: { version: "2" } },
  kv: { path: "kv/", type: "kv", options: { version: "1" } },
  database: { path: "database/", type: "database" },
  pki: { path: "pki/", type: "pki" },
};

interface State {
  readonly secrets: Record<string, JsonObject | undefined>;
  users: number;
}

function answer(state: State, { path, body }: SeenRequest): ScriptedAnswer {
  if (path === "auth/kubernetes/login") return enveloped(null, { auth: authBlock("t", 3600) });
  if (path.startsWith("auth/token/")) return { status: 204 };
  const [, mount = ""] = /^sys\/internal\/ui\/mounts\/([^/]+)/.exec(path) ?? [];
  if (MOUNTS[mount] !== undefined) return enveloped(MOUNTS[mount] ?? {});
  if (path.startsWith("database/creds")) {
    return enveloped({ user: `u${++state.users}` }, { lease_id: "l", lease_duration: 3000 });
  }
  if (path === "pki/issue/web") {
    const name = JSON.stringify(body ?? {});
    return enveloped({ certificate: "CERT", private_key: "KEY", issuing_ca: "CA", ca_chain: ["CA"], asked: name });
  }
  if (path === "secret/metadata/team") return enveloped({ keys: ["a", "b"] });
  const data = state.secrets[path];
  if (path.includes("denied")) return refused(403, "permission denied");
  return data === undefined ? refused(404) : enveloped(data);
}

type Template = { text: string; [option: string]: unknown };

async function startPod(templates: Readonly<Record<string, Template>>, secrets: State["secrets"] = {}, change = {}) {
  const folder = await mkdtemp(join(tmpdir(), "coffer-template-"));
  const state: State = { secrets, users: 0 };
  const api = await startScriptedApi((seen) => answer(state, seen));
  await writeFile(join(folder, "jwt"), "jwt");
  const config = {
    ...{ address: api.address, mode: "Init", readyFile: join(folder, "ready"), sources: [] },
    auth: { mount: "kubernetes", role: "app", tokenFile: join(folder, "jwt") },
    files: Object.entries(templates).map(([name, { source, ...template }]) => {
      return { path: join(folder, name), format: "Template", template, ...(source === undefined ? {} : { source }) };
    }),
    ...change,
  };
  const end = new AbortController();
  let log = "";
  const io = {
    stdout: { write: () => true },
    stderr: { write: (text: string) => (log += text) },
    readStdin: async () => Buffer.alloc(0),
    env: { COFFER_AGENT_CONFIG: JSON.stringify(config), POD_NAME: "web-0", AWS_SECRET: "hush" },
    ...{ cwd: folder, clock: new HastyClock(15_000, 2_000), signal: end.signal },
  };
  return {
    ...{ api, state, io, end },
    log: () => log,
    file: (name: string) => readFile(join(folder, name), "utf8"),
    bytes: (name: string) => readFile(join(folder, name)),
    async [Symbol.asyncDispose]() {
      end.abort();
      await api[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const eventually = <T>(value: () => T) => expect.poll(value, { timeout: 10_000, interval: 10 });
const DB = { data: { user: "app", next: "secret/data/second", bin: "/u3+7Q==" }, metadata: { version: 3 } };

describe("a template's secrets", () => {
  it("are read by paths with and without data/, once for all templates", async () => {
    await using pod = await startPod(
      {
        a: { text: '{{ with secret "secret/data/db" }}{{ .Data.data.user }} v{{ .Data.metadata.version }}{{ end }}' },
        b: {
          text: '{{ with secret "/secret/db" }}{{ .Data.data.user }}{{ end }}{{ (secret "secret/data/db").Data.data.user }}',
        },
        c: { text: '{{ with secret "kv/app" }}{{ .Data.token }}{{ end }}' },
      },
      { "secret/data/db": DB, "kv/app": { token: "t0k" } },
    );
    expect(await run([], pod.io)).toBe(0);
    expect(await pod.file("a")).toBe("app v3");
    expect(await pod.file("b")).toBe("appapp");
    expect(await pod.file("c")).toBe("t0k");
    const reads = pod.api.seen.map(({ path }) => path).filter((path) => path === "secret/data/db");
    // One for each spelling of the path.
    expect(reads).toHaveLength(2);
  });

  it("may name the next one, and lists and certificates are had too", async () => {
    await using pod = await startPod(
      {
        chain: {
          text: '{{ with secret "secret/data/db" }}{{ with secret .Data.data.next }}{{ .Data.data.x }}{{ end }}{{ end }}',
        },
        list: { text: '{{ range secrets "secret/team" }}{{ . }},{{ end }}' },
        pki: {
          text: '{{ with pkiCert "pki/issue/web" "common_name=web" "ttl=1h" }}{{ .Key }}{{ .Cert }}{{ .CA }}{{ .Data.Cert }}{{ end }}',
        },
        write: { text: '{{ with secret "pki/issue/web" "common_name=api" }}{{ .Data.asked }}{{ end }}' },
      },
      { "secret/data/db": DB, "secret/data/second": { data: { x: "found" }, metadata: {} } },
    );
    expect(await run([], pod.io)).toBe(0);
    expect(await pod.file("chain")).toBe("found");
    expect(await pod.file("list")).toBe("a,b,");
    expect(await pod.file("pki")).toBe("KEY\nCERT\nCA\nCERT\n");
    expect(await pod.file("write")).toBe('{"common_name":"api"}');
    expect(pod.api.seen.some(({ path }) => path.startsWith("secret/metadata/team"))).toBe(true);
  });

  it("with a lease are one credential in all files, also when they are a source", async () => {
    const text = '{{ with secret "database/creds/app" }}{{ .Data.user }} {{ .LeaseDuration }}{{ end }}';
    await using pod = await startPod({ a: { text }, b: { text } });
    expect(await run([], pod.io)).toBe(0);
    expect([await pod.file("a"), await pod.file("b")]).toEqual(["u1 3000", "u1 3000"]);
    const sources = [{ name: "x/db", path: "database/creds/app" }];
    const own = { text: `{{ .user }} {{ (source "db").user }} ${text}`, source: "x/db", sources: { db: "x/db" } };
    await using other = await startPod({ a: own }, {}, { sources });
    expect(await run([], other.io)).toBe(0);
    expect(await other.file("a")).toBe("u1 u1 u1 3000");
  });

  it("that are bytes are written as bytes", async () => {
    await using pod = await startPod(
      { jks: { text: '{{ with secret "secret/data/db" }}{{ base64Decode .Data.data.bin }}{{ end }}' } },
      { "secret/data/db": DB },
    );
    expect(await run([], pod.io)).toBe(0);
    expect((await pod.bytes("jks")).toString("hex")).toBe("feedfeed");
  });
});

describe("what stands in the way", () => {
  it.each([
    [
      "missing",
      '{{ with secret "secret/data/late" }}{{ .Data.data.user }}{{ end }}',
      'there is nothing at \\"secret/data/late\\" (404)',
    ],
    [
      "denied",
      '{{ with secret "secret/data/denied" }}x{{ end }}',
      'the role may not read \\"secret/data/denied\\" (403)',
    ],
  ])("a secret that is %s holds the pod, without half a file", async (_kind, text, message) => {
    await using pod = await startPod({ "a.conf": { text: `before ${text}` } });
    const running = run([], pod.io);
    await eventually(pod.log).toContain(message);
    await expect(pod.file("a.conf")).rejects.toThrow("ENOENT");
    pod.end.abort();
    expect(await running).toBe(0);
  });

  it("goes away when the secret comes", async () => {
    await using pod = await startPod({ a: { text: '{{ (secret "secret/data/late").Data.data.user }}' } });
    const running = run([], pod.io);
    await eventually(pod.log).toContain("(404)");
    pod.state.secrets["secret/data/late"] = DB;
    expect(await running).toBe(0);
    expect(await pod.file("a")).toBe("app");
  });

  it("a template with an error is told with line and column before anything is read", async () => {
    await using pod = await startPod({ "a.conf": { text: "one\ntwo {{ tooUper .x }}" } });
    expect(await run([], pod.io)).toBe(1);
    expect(pod.log()).toBe('coffer agent: template a.conf:2:8: there is no function "tooUper" in templates here\n');
    expect(pod.api.seen).toEqual([]);
  });

  it("an error with a secret is told without the secret, and other files are written", async () => {
    await using pod = await startPod(
      {
        bad: { text: '{{ with secret "secret/data/db" }}\n{{ .Data.data.user | parseInt }}{{ end }}' },
        key: { text: '{{ with secret "secret/data/db" }}{{ .Data.data.nope }}{{ end }}', errorOnMissingKey: true },
        good: { text: "{{ env `POD_NAME` }}{{ env `AWS_SECRET` }}{{ env `PATH` }}" },
      },
      { "secret/data/db": { data: { user: "hush" }, metadata: {} } },
    );
    const running = run([], pod.io);
    await eventually(pod.log).toContain('template key:1:38: there is no key \\"nope\\"');
    expect(pod.log()).toContain("template bad:2:22: parseInt: the text is no whole number");
    expect(await pod.file("good")).toBe("web-0");
    expect(pod.log()).not.toContain("hush");
    pod.end.abort();
    expect(await running).toBe(0);
  });

  it("a template asks for so many secrets at most, and not for ever more", async () => {
    const many = `{{ range loop ${REQUESTS_MAX + 1} }}{{ with secret (printf "database/creds/%d" .) }}{{ end }}{{ end }}`;
    const deep = `{{ define "t" }}{{ with secret (printf "database/creds/%s" .) }}{{ template "t" .Data.user }}{{ end }}{{ end }}{{ template "t" "a" }}`;
    await using pod = await startPod({ many: { text: many }, deep: { text: deep } });
    const running = run([], pod.io);
    await eventually(pod.log).toContain(`a template asks for more than ${REQUESTS_MAX} secrets`);
    await eventually(pod.log).toContain(`${ROUNDS_MAX} rounds deep at most`);
    pod.end.abort();
    expect(await running).toBe(0);
  });
});

it("an optional source that is absent is nothing to its template", async () => {
  const sources = [{ name: "x/db", path: "secret/db", optional: true }];
  const text = '{{ with source "db" }}{{ .user }}{{ else }}none{{ end }}';
  await using pod = await startPod({ a: { text, sources: { db: "x/db" } } }, {}, { sources });
  expect(await run([], pod.io)).toBe(0);
  expect(await pod.file("a")).toBe("none");
});
