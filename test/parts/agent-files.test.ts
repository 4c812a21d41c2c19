// The agent as a program of a machine, with a configuration file, against a real server: real processes, real signals.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { must } from "#test/kit/client.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";

/** The state file must lie on a tmpfs. */
const TMPFS = "/dev/shm";
let server: OpenServer;
let folder: string;
let roleId: string;
const running = new Set<Program>();

beforeAll(async () => {
  server = await startDevelopmentServer();
  const write = (path: string, body: JsonObject) => must(server.address, server.rootToken, "POST", path, body);
  await write("sys/mounts/kv", { type: "kv", options: { version: "2" } });
  await write("sys/policies/acl/app", {
    policy: 'path "kv/*" { capabilities = ["read"] }\npath "sys/leases/renew" { capabilities = ["update"] }',
  });
  await write("sys/auth/approle", { type: "approle" });
  await write("auth/approle/role/app", { token_policies: ["app"], token_ttl: "1h" });
  roleId = textAt(await must(server.address, server.rootToken, "GET", "auth/approle/role/app/role-id"), "role_id");
});
afterAll(async () => {
  await server?.stop();
});
beforeEach(async () => {
  folder = await mkdtemp(join(TMPFS, "coffer-agent-"));
  await writeFile(join(folder, "role-id"), roleId);
  await writeFile(join(folder, "secret-id"), await newSecretId());
  await put("db", { user: "web", password: "first" });
  return async () => {
    for (const program of running) await program.stop("SIGKILL");
    running.clear();
    await rm(folder, { recursive: true, force: true });
  };
});

async function newSecretId(): Promise<string> {
  return textAt(
    await must(server.address, server.rootToken, "POST", "auth/approle/role/app/secret-id", {}),
    "secret_id",
  );
}

function put(name: string, data: JsonObject): Promise<unknown> {
  return must(server.address, server.rootToken, "POST", `kv/data/${name}`, { data });
}

function textAt(answer: unknown, name: string): string {
  const data = isJsonObject(answer as JsonObject) ? (answer as JsonObject)["data"] : undefined;
  return String(isJsonObject(data) ? data[name] : "");
}

interface Program {
  readonly output: () => string;
  readonly child: ChildProcess;
  /** Gives the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

function coffer(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const child = spawn(process.execPath, ["src/cli/main.ts", ...argv], {
    env: { PATH: process.env["PATH"], HOME: folder, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (text += chunk));
  const ended = once(child, "exit");
  const program: Program = {
    ...{ child, output: () => text },
    async stop(signal) {
      if (child.exitCode === null && child.signalCode === null && signal !== undefined) child.kill(signal);
      await ended;
      return child.exitCode;
    },
  };
  running.add(program);
  return program;
}

const AUTH = (extra = "") => `
  auto_auth {
    method "approle" {
      config = { role_id_file_path = "FOLDER/role-id", secret_id_file_path = "FOLDER/secret-id" }
    }
    ${extra}
  }`;

async function config(text: string): Promise<string> {
  const file = join(folder, "agent.hcl");
  const whole = `vault { address = "${server.address}" }\n${text}`;
  await writeFile(file, whole.replaceAll("FOLDER", folder));
  return `-config=${file}`;
}

const file = (name: string) => readFile(join(folder, name), "utf8");
const eventually = <T>(value: () => T) => expect.poll(value, { timeout: 15_000, interval: 50 });
const isAlive = (token: string) =>
  must(server.address, token, "GET", "auth/token/lookup-self").then(
    () => true,
    () => false,
  );
const logins = (program: Program) =>
  program.output().split('"logged in"').length + program.output().split(" logged in").length - 2;

const TEMPLATE = (extra = "") => `
  template {
    contents = "{{ with secret \\"kv/data/db\\" }}{{ .Data.data.user }}:{{ .Data.data.password }}{{ end }}"
    destination = "FOLDER/out/db"
    perms = 0640
    ${extra}
  }
  template_config { static_secret_render_interval = "1s" }`;

describe("coffer agent -config", () => {
  it("renders, writes its token, follows a change, and leaves nothing behind at SIGTERM", async () => {
    const sink = 'sink "file" { config = { path = "FOLDER/token", mode = 0600 } }';
    const hook = 'backup = true\n command = ["/bin/sh", "-c", "echo changed >> FOLDER/told"]';
    const agent = coffer(["agent", await config(`pid_file = "FOLDER/pid"\n${AUTH(sink)}${TEMPLATE(hook)}`)]);
    await eventually(() => file("out/db").catch(() => "")).toBe("web:first");
    expect((await stat(join(folder, "out/db"))).mode & 0o777).toBe(0o640);
    expect((await file("pid")).trim()).toBe(String(agent.child.pid));
    const token = await file("token");
    expect(await isAlive(token)).toBe(true);
    await expect(stat(join(folder, "secret-id"))).rejects.toThrow("ENOENT");
    await put("db", { user: "web", password: "second" });
    await eventually(() => file("out/db")).toBe("web:second");
    await eventually(() => file("told").catch(() => "")).toBe("changed\n");
    expect(await file("out/db.bak")).toBe("web:first");
    expect(await agent.stop("SIGTERM")).toBe(0);
    expect(await isAlive(token)).toBe(false);
    await expect(stat(join(folder, "pid"))).rejects.toThrow("ENOENT");
    expect(agent.output()).not.toContain("second");
    expect(agent.output()).not.toContain(token);
  });

  it("ends after its work with exit_after_auth, whose token stays", async () => {
    const sink =
      'sink "file" { wrap_ttl = "5m"\n config = { path = "FOLDER/wrapped" } }\n sink "file" { config = { path = "FOLDER/token" } }';
    const agent = coffer(["agent", await config(`exit_after_auth = true\n${AUTH(sink)}${TEMPLATE()}`)]);
    expect(await agent.stop()).toBe(0);
    expect(await file("out/db")).toBe("web:first");
    expect(await isAlive(await file("token"))).toBe(true);
    const wrapped = JSON.parse(await file("wrapped"));
    expect(wrapped).toMatchObject({ ttl: 300, creation_path: "sys/wrapping/wrap" });
    const opened = await must(server.address, wrapped.token, "POST", "sys/wrapping/unwrap", {});
    expect(textAt(opened, "token")).toBe(await file("token"));
  });

  it("opens a wrapped secret id that was made where the configuration says, and no other", async () => {
    const made = await fetch(`${server.address}/v1/auth/approle/role/app/secret-id`, {
      method: "POST",
      headers: { "X-Vault-Token": server.rootToken, "X-Vault-Wrap-TTL": "60s" },
    });
    const wrapping = JSON.parse(await made.text()).wrap_info.token;
    const auth = (path: string) => `exit_after_auth = true
      auto_auth { method { type = "approle"
        exit_on_err = true
        config = { role_id_file_path = "FOLDER/role-id", secret_id_file_path = "FOLDER/secret-id",
                   secret_id_response_wrapping_path = "${path}" } }
        sink { type = "file"
          config = { path = "FOLDER/token" } } }`;
    await writeFile(join(folder, "secret-id"), wrapping);
    const wary = coffer(["agent", await config(auth("auth/approle/role/other/secret-id"))]);
    expect(await wary.stop()).toBe(1);
    expect(wary.output()).toContain("was not made at auth/approle/role/other/secret-id");
    const agent = coffer(["agent", await config(auth("auth/approle/role/app/secret-id"))]);
    expect(await agent.stop()).toBe(0);
    expect(await isAlive(await file("token"))).toBe(true);
  });

  it("goes on with its token after a kill, and logs in no second time", async () => {
    const sink = 'sink "file" { config = { path = "FOLDER/token" } }';
    const given = await config(`state_file = "FOLDER/state"\n${AUTH(sink)}${TEMPLATE()}`);
    const first = coffer(["agent", given]);
    await eventually(first.output).toContain("ready");
    const token = await file("token");
    expect((await stat(join(folder, "state"))).mode & 0o777).toBe(0o600);
    await first.stop("SIGKILL");
    await put("db", { user: "web", password: "after the kill" });
    const second = coffer(["agent", given]);
    await eventually(() => file("out/db")).toBe("web:after the kill");
    expect(await file("token")).toBe(token);
    expect(second.output()).toContain("going on with the token of before");
    expect(logins(second)).toBe(0);
    expect(await second.stop("SIGTERM")).toBe(0);
    expect(await isAlive(token)).toBe(false);
    await expect(stat(join(folder, "state"))).rejects.toThrow("ENOENT");
  });

  it("logs in when the token of before has been revoked meanwhile", async () => {
    const given = await config(
      `state_file = "FOLDER/state"\n${AUTH('sink "file" { config = { path = "FOLDER/token" } }').replace("secret_id_file_path", "remove_secret_id_file_after_reading = false, secret_id_file_path")}${TEMPLATE()}`,
    );
    const first = coffer(["agent", given]);
    await eventually(first.output).toContain("ready");
    const token = await file("token");
    await first.stop("SIGKILL");
    await must(server.address, server.rootToken, "POST", "auth/token/revoke", { token });
    await put("db", { user: "web", password: "fresh" });
    const second = coffer(["agent", given]);
    await eventually(() => file("out/db")).toBe("web:fresh");
    expect(await file("token")).not.toBe(token);
    expect(await second.stop("SIGTERM")).toBe(0);
  });

  it("reads its configuration again at SIGHUP with the same token, and keeps the old one when the new one is wrong", async () => {
    const sink = 'sink "file" { config = { path = "FOLDER/token" } }';
    const agent = coffer(["agent", await config(`${AUTH(sink)}${TEMPLATE()}`)]);
    await eventually(() => file("out/db").catch(() => "")).toBe("web:first");
    const token = await file("token");
    await config("nonsense = 1");
    agent.child.kill("SIGHUP");
    await eventually(agent.output).toContain("nonsense");
    await config(`${AUTH(sink)}${TEMPLATE().replace("FOLDER/out/db", "FOLDER/out/other")}`);
    agent.child.kill("SIGHUP");
    await eventually(() => file("out/other").catch(() => "")).toBe("web:first");
    expect(await file("token")).toBe(token);
    expect(logins(agent)).toBe(1);
    expect(await agent.stop("SIGTERM")).toBe(0);
    expect(await isAlive(token)).toBe(false);
  });

  it("tells an application over HTTP, again until it listens, without a secret", async () => {
    const bodies: string[] = [];
    const application = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        bodies.push(Buffer.concat(chunks).toString("utf8"));
        response.writeHead(bodies.length === 1 ? 503 : 204).end();
      });
    });
    await new Promise<void>((resolve) => application.listen(0, "127.0.0.1", resolve));
    const { port } = application.address() as AddressInfo;
    const hook = `notify { http = "http://127.0.0.1:${port}/reload" }`;
    const agent = coffer(["agent", await config(`${AUTH()}${TEMPLATE(hook)}`)]);
    await eventually(agent.output).toContain("ready");
    await put("db", { user: "web", password: "hush" });
    await eventually(() => bodies.length).toBe(2);
    expect(bodies.map((body) => JSON.parse(body))).toEqual(Array(2).fill({ files: [join(folder, "out/db")] }));
    await agent.stop("SIGTERM");
    application.closeAllConnections();
    application.close();
  });
});

describe("its proxy", () => {
  const PROXY = (port: number) =>
    `listener "tcp" { address = "127.0.0.1:${port}"\n tls_disable = true }
     listener "unix" { address = "FOLDER/agent.sock" }
     api_proxy { use_auto_auth_token = true }
     cache {}`;
  const addressIn = (program: Program) => /listening.*?(127\.0\.0\.1:\d+)/.exec(program.output())?.[1] ?? "";

  it("lets programs without a login use the agent's", async () => {
    const agent = coffer(["agent", await config(`${AUTH()}\n${PROXY(0)}`)]);
    await eventually(agent.output).toMatch(/listening.*sock/);
    const ask = async () => (await fetch(`http://${addressIn(agent)}/v1/kv/data/db`)).json();
    await eventually(async () => JSON.stringify(await ask().catch(() => ""))).toContain('"password":"first"');
    expect((await stat(join(folder, "agent.sock"))).mode & 0o777).toBe(0o600);
    expect(await agent.stop("SIGTERM")).toBe(0);
    await expect(stat(join(folder, "agent.sock"))).rejects.toThrow("ENOENT");
  });

  it("ends with a sentence when its port is taken", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const agent = coffer(["agent", await config(`${AUTH()}\n${PROXY(port)}`)]);
    expect(await agent.stop()).not.toBe(0);
    expect(agent.output()).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}`));
    other.close();
  });
});

describe("coffer exec", () => {
  const SHOW = 'trap "exit 0" TERM; echo "start $PASSWORD" >> FOLDER/seen; while :; do sleep 0.05; done';
  const seen = () => file("seen").catch(() => "");
  const flags = () => [`-address=${server.address}`, "-refresh=1s", "-env", "PASSWORD=kv/db#password"];
  const env = () => ({ VAULT_TOKEN: server.rootToken });

  it("runs a program with secrets in its environment alone, and passes its status on", async () => {
    const script =
      'test -z "$VAULT_TOKEN" || exit 9; test "$PASSWORD" = first || exit 8; tr "\\0" " " < /proc/$PPID/environ /proc/$PPID/cmdline | grep -q "first" && exit 7; exit 42';
    const program = coffer(["exec", ...flags(), "--", "/bin/sh", "-c", script], env());
    expect(await program.stop()).toBe(42);
  });

  it("starts it anew when a secret has changed, and ends it when it is told to end", async () => {
    const program = coffer(["exec", ...flags(), "--", "/bin/sh", "-c", SHOW.replace("FOLDER", folder)], env());
    await eventually(seen).toBe("start first\n");
    await put("db", { user: "web", password: "second" });
    await eventually(seen).toBe("start first\nstart second\n");
    expect(await program.stop("SIGTERM")).toBe(0);
  });

  it("passes signals on", async () => {
    const script = `trap "exit 5" USR1; echo up > ${folder}/seen; while :; do sleep 0.05; done`;
    const program = coffer(["exec", ...flags(), "--", "/bin/sh", "-c", script], env());
    await eventually(seen).toBe("up\n");
    program.child.kill("SIGUSR1");
    expect(await program.stop()).toBe(5);
  });

  it("takes env_template and exec stanzas, as vault agent does, and revokes its token at the end", async () => {
    const stanzas = `${AUTH('sink "file" { config = { path = "FOLDER/token" } }')}
      env_template "PASSWORD" { contents = "{{ with secret \\"kv/data/db\\" }}{{ .Data.data.password }}{{ end }}" }
      exec { command = ["/bin/sh", "-c", "exit 3"] }`;
    const byFile = await config(stanzas);
    const program = coffer(["agent", byFile]);
    expect(await program.stop()).toBe(3);
    expect(await isAlive(await file("token"))).toBe(false);
    await writeFile(join(folder, "secret-id"), await newSecretId());
    const other = coffer(["exec", byFile, "--", "/bin/sh", "-c", 'test "$PASSWORD" = first && exit 4']);
    expect(await other.stop()).toBe(4);
  });

  it("says what is missing, and runs nothing", async () => {
    const absent = coffer(["exec", `-address=${server.address}`, "-env", "A=kv/none#x", "--", "/bin/true"], env());
    expect(await absent.stop()).toBe(1);
    expect(absent.output()).toContain('attempts: there is nothing at "kv/none" (404)');
    const noProgram = coffer(["exec", ...flags(), "--", "/no/such/program"], env());
    expect(await noProgram.stop()).toBe(127);
  });
});
