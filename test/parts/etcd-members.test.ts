// What the operator relies on of etcd, with real members on this machine: its certificates and configuration files make
// a cluster, an empty disk does not start under an old number, and a member is replaced by the calls that the operator
// makes. Only addresses and folders differ from those in a pod.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { createEventRecorder } from "#kube/events.ts";
import { createKubeClient } from "#kube/kube-client.ts";
import { createApplier } from "#operator/controllers/applier.ts";
import { createEtcdApi, type EtcdApi, type EtcdTrust } from "#operator/controllers/vault-cluster/etcd/etcd-api.ts";
import { ensureEtcdCertificates, readEtcdTrust } from "#operator/controllers/vault-cluster/etcd/etcd-certificates.ts";
import { memberHost, memberName, peerUrl } from "#operator/controllers/vault-cluster/etcd/etcd-names.ts";
import {
  DATA_DIRECTORY,
  DATA_LOST,
  memberConfig,
  type Phase,
  TLS_DIRECTORY,
} from "#operator/controllers/vault-cluster/etcd/member-config.ts";
import { createWatches } from "#operator/watches.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { cluster, SETTINGS } from "#test/operator/fixtures.ts";

const isInstalled = spawnSync("etcd", ["--version"]).status === 0;
if (!isInstalled && process.env["CI"] === "true") throw new Error("etcd is not installed: apt-get install etcd-server");

const three = cluster({ spec: { replicas: 3 } });
const NAMES = [0, 1, 2].map((ordinal) => memberName(three, ordinal));
const signal = new AbortController().signal;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe.skipIf(!isInstalled)("etcd members as the operator runs them", { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "coffer-members-"));
  const ports = new Map<string, { client: number; peer: number; metrics: number }>();
  const children = new Map<string, ChildProcess>();
  let api: FakeApiServer;
  let trust: EtcdTrust;

  beforeAll(async () => {
    api = await startFakeApiServer();
    using client = await createKubeClient({ source: { from: "values", server: api.url }, fieldManager: "test" });
    const watches = createWatches({ client, settings: SETTINGS, clock: systemClock, log: silentLog });
    const events = createEventRecorder({ client, instance: "test", clock: systemClock, log: silentLog });
    const applier = createApplier({ client, watches, events, clock: systemClock });
    const parts = { client, applier, clock: systemClock, log: silentLog };
    await ensureEtcdCertificates(parts, three, { name: "owner" }, signal);
    const found = await readEtcdTrust(client, three, signal);
    if (found === undefined) throw new Error("there is no certificate");
    trust = found;
    const data = api.stored("/api/v1/namespaces/coffer-system/secrets/main-etcd-tls")?.["data"];
    mkdirSync(join(folder, "tls"));
    for (const [file, text] of Object.entries(isJsonObject(data) ? data : {}))
      writeFileSync(join(folder, "tls", file), Buffer.from(String(text), "base64"));
    for (const name of NAMES)
      ports.set(name, { client: await freePort(), peer: await freePort(), metrics: await freePort() });
  });
  afterAll(async () => {
    for (const child of children.values()) child.kill("SIGKILL");
    await api[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The file as in a pod, for this machine. */
  function fileOf(member: string, phase: Phase): string {
    const own = ports.get(member);
    let text = JSON.stringify(
      memberConfig({ cluster: three, member, phase, founders: 3, quotaBytes: 64 * 1024 * 1024 }),
    )
      .replace("https://0.0.0.0:2379", `https://127.0.0.1:${own?.client}`)
      .replace("https://0.0.0.0:2380", `https://127.0.0.1:${own?.peer}`)
      .replace("http://0.0.0.0:2381", `http://127.0.0.1:${own?.metrics}`)
      .replaceAll(TLS_DIRECTORY, join(folder, "tls"))
      .replaceAll(DATA_DIRECTORY, join(folder, member));
    for (const [name, { client, peer }] of ports) {
      text = text.replaceAll(peerUrl(three, name), `https://127.0.0.1:${peer}`);
      text = text.replaceAll(`https://${memberHost(three, name)}:2379`, `https://127.0.0.1:${client}`);
    }
    const file = join(folder, `${member}.yaml`);
    writeFileSync(file, text);
    mkdirSync(join(folder, member), { recursive: true, mode: 0o700 });
    return file;
  }

  /** Starts a member; what it says is gathered. */
  function start(member: string, phase: Phase): { child: ChildProcess; said: () => string } {
    const child = spawn("etcd", [`--config-file=${fileOf(member, phase)}`], { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (text += String(chunk)));
    children.set(member, child);
    return { child, said: () => text };
  }

  async function stop(member: string): Promise<void> {
    const child = children.get(member);
    if (child === undefined || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  function callerOf(member: string, by: EtcdTrust = trust): EtcdApi {
    const port = ports.get(member)?.client ?? 0;
    return createEtcdApi({ host: "127.0.0.1", port, serverName: memberHost(three, member) }, by, signal);
  }

  /** Calls until it works: members take a moment to find each other. */
  async function until<T>(work: () => Promise<T | undefined>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        const found = await work();
        if (found !== undefined) return found;
      } catch (error) {
        if (tries > 100) throw error;
      }
      if (tries > 100) throw new Error("it does not happen");
      await systemClock.sleep(100);
    }
  }

  const whoLeads = (member: string) =>
    until(async () => {
      const status = await callerOf(member).status();
      return status.leader === "0" ? undefined : status;
    });

  it("found a cluster, and let in nobody without a certificate of theirs", async () => {
    for (const name of NAMES) start(name, { kind: "new" });
    for (const name of NAMES) await whoLeads(name);
    const members = await callerOf(NAMES[0] ?? "").members();
    expect(members.map(({ name }) => name).toSorted()).toEqual(NAMES);
    const stranger: EtcdTrust = { ...trust, certificatePem: "", privateKeyPem: trust.privateKeyPem };
    await expect(callerOf(NAMES[0] ?? "", stranger).status()).rejects.toThrow("does not answer");
  });

  it("come back with their data from a file that would let nobody begin", async () => {
    const [first = ""] = NAMES;
    const before = (await whoLeads(first)).header.member_id;
    await stop(first);
    start(first, { kind: "joined" });
    expect((await whoLeads(first)).header.member_id).toBe(before);
  });

  it("do not start without it, and are replaced", async () => {
    const [first = "", second = "", third = ""] = NAMES;
    const old = (await callerOf(first).members()).find(({ name }) => name === third)?.ID ?? "";
    await stop(third);
    rmSync(join(folder, third), { recursive: true });
    const lost = start(third, { kind: "joined" });
    await once(lost.child, "exit");
    expect(lost.said()).toMatch(DATA_LOST);
    const caller = callerOf(second);
    await until(() => caller.remove(old).then(() => true));
    const peer = `https://127.0.0.1:${ports.get(third)?.peer}`;
    await until(() => caller.addLearner(peer).then(() => true));
    start(third, { kind: "joining", among: NAMES });
    const added = await until(async () => (await caller.members()).find(({ name }) => name === third));
    expect(added.ID).not.toBe(old);
    await until(() => caller.promote(added.ID).then(() => true));
    const voters = (await caller.members()).filter(({ isLearner }) => !isLearner);
    expect(voters).toHaveLength(3);
    await stop(third);
    start(third, { kind: "joined" });
    expect((await whoLeads(third)).header.member_id).toBe(added.ID);
  });

  it("are looked after, and refuse in words of their own", async () => {
    const caller = callerOf(NAMES[1] ?? "");
    const { dbSize, dbSizeInUse, header } = await caller.status();
    expect(Number(dbSize)).toBeGreaterThanOrEqual(Number(dbSizeInUse));
    await caller.defragment();
    await caller.disarm(header.member_id);
    await expect(caller.remove("1")).rejects.toThrow(/etcd refused .*cluster\/member\/remove: .*member not found/);
  });
});
