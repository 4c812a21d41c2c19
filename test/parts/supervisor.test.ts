// How a server of several worker processes starts and ends, and who asks the seal that opens it.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startAwsResponder } from "#test/kit/aws/responder.ts";
import { at } from "#test/kit/client.ts";
import { connect } from "#test/kit/connection.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";
import {
  bootstrapped,
  connectToBoth,
  count,
  isAlive,
  login,
  start,
  until,
  workerPids,
} from "#test/kit/worker-server.ts";

describe("a seal that opens by itself", () => {
  it("is asked by one worker for all, and not again for one that is started again", async () => {
    const aws = await startAwsResponder();
    aws.createKey({ alias: "alias/coffer" });
    const awskms = {
      ...{ region: aws.region, endpoint: aws.endpoint, kms_key_id: "alias/coffer" },
      ...{ access_key: aws.credentials.accessKeyId, secret_key: aws.credentials.secretAccessKey },
    };
    const extra = { ...bootstrapped(), seal: { awskms }, workers: 3 };
    const calls = () =>
      ["Encrypt", "Decrypt"].map((operation) => aws.requests().get(`${operation} coffer:purpose=root-key`) ?? 0);
    const purposes = () => [...aws.requests().keys()];
    let { server, folder } = await start(extra);
    try {
      await until(() => count(server.output(), /unsealed worker=/g) === 3, "all are unsealed", server);
      expect(calls()).toEqual([1, 0]);
      await until(async () => (await probedAt(server)).every(Boolean), "all tell of the probe that one made", server);
      // The one that looks after the seals probes at its start, and again once it is unsealed.
      expect(aws.requests().get("Encrypt coffer:purpose=probe")).toBeLessThanOrEqual(2);
      expect(new Set(await probedAt(server)).size).toBe(1);
      await server.stop();
      ({ server } = await start(extra, folder));
      await until(() => count(server.output(), /unsealed worker=/g) === 3, "all are unsealed again", server);
      expect(calls()).toEqual([1, 1]);
      await until(
        () => purposes().some((one) => one.startsWith("Decrypt coffer:purpose=seal-wrap")),
        "it is wrapped",
        server,
      );
      aws.faults.goDown();
      for (const pid of (await workerPids(server)).slice(0, 2)) process.kill(pid, "SIGKILL");
      await until(() => count(server.output(), /unsealed worker=/g) === 5, "both are back", server);
      expect(calls()).toEqual([1, 1]);
      // What they have wrapped by the seal comes from the worker that lives on.
      for (let i = 0; i < 9; i++) expect(await login(server)).toMatch(/^hvs\./);
    } finally {
      await server.stop();
      await aws.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("says at every worker why it does not open", async () => {
    const aws = await startAwsResponder();
    const { keyId } = aws.createKey({ alias: "alias/coffer" });
    const awskms = {
      ...{ region: aws.region, endpoint: aws.endpoint, kms_key_id: "alias/coffer" },
      ...{ access_key: aws.credentials.accessKeyId, secret_key: aws.credentials.secretAccessKey },
    };
    const extra = { ...bootstrapped(), seal: { awskms } };
    let { server, folder } = await start(extra);
    try {
      await untilUnsealed(server);
      await server.stop();
      aws.disableKey(keyId);
      ({ server } = await start(extra, folder));
      const reasons = async () => {
        const answers = await Promise.all(
          Array.from({ length: 4 }, async () => {
            using client = connect(server.address);
            return (await client.call("GET", "sys/seal-status")).text;
          }),
        );
        return answers.filter((text) => text.includes('"reason":"KeyDisabled"')).length;
      };
      await until(async () => (await reasons()) === 4, "all say that the key is disabled", server);
    } finally {
      await server.stop();
      await aws.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** When the seal was probed last, as several connections are told. */
function probedAt({ address }: RunningServer): Promise<readonly (string | undefined)[]> {
  const ask = async () => {
    using client = connect(address);
    const { text } = await client.call("GET", "sys/seal-backend-status");
    return /"last_probe":"([^"]+)"/.exec(text)?.[1];
  };
  return Promise.all(Array.from({ length: 6 }, ask));
}

describe("the supervisor", () => {
  it("takes the workers with it when it is killed, so that the next start has port and store to itself", async () => {
    const extra = bootstrapped();
    const { server, folder, config } = await start(extra);
    try {
      await untilUnsealed(server);
      const port = new URL(server.address).port;
      const pids = await workerPids(server);
      expect(pids).toHaveLength(2);
      await server.kill9();
      const text = (await readFile(config, "utf8")).replace("127.0.0.1:0", `127.0.0.1:${port}`);
      await writeFile(config, text);
      const next = await startServer([`-config=${config}`]);
      await untilUnsealed(next);
      expect(await login(next)).toMatch(/^hvs\./);
      await until(() => !pids.some(isAlive), "the old workers are gone");
      await next.stop();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("lets requests under way end when it is asked to, and ends with all its workers", async () => {
    const extra = bootstrapped();
    const { server, folder } = await start(extra);
    try {
      await untilUnsealed(server);
      const token = await login(server);
      const [one, two] = await connectToBoth(server.address, token);
      const pids = await workerPids(server);
      const busy = [one, two].flatMap((client, index) =>
        Array.from({ length: 20 }, (_, i) => client.call("POST", `secret/data/drain/${index}-${i}`, { data: { i } })),
      );
      await Promise.race(busy);
      const stopping = server.stop();
      const ended = await Promise.allSettled(busy);
      const answers = ended.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.status] : []));
      expect([...new Set(answers)]).toEqual([200]);
      await stopping;
      expect(server.output()).not.toContain("killed");
      expect(pids.filter(isAlive)).toEqual([]);
      await expect(readFile(join(folder, "pid"))).rejects.toMatchObject({ code: "ENOENT" });
      one[Symbol.dispose]();
      two[Symbol.dispose]();
      // What was carried out was answered: nothing was cut off in the middle.
      const { server: next } = await start(extra, folder);
      await untilUnsealed(next);
      using reader = connect(next.address, token);
      const { status, body } = await reader.call("LIST", "secret/metadata/drain");
      expect([status, at(body, "data", "keys")]).toEqual([200, expect.objectContaining({ length: answers.length })]);
      await next.stop();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("ends at once, saying why, when no worker can start", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-workers-"));
    try {
      const wrong = await writeConfig(folder, { workers: 2, storage: { memory: {} } });
      await expect(startServer([`-config=${wrong}`])).rejects.toThrow(/workers is 2, but storage "memory"/);
      const busy = await start(bootstrapped());
      const { port } = new URL(busy.server.address);
      const taken = { workers: 2, listener: { tcp: { address: `127.0.0.1:${port}`, tls_disable: true } } };
      await expect(startServer([`-config=${await writeConfig(folder, taken)}`])).rejects.toThrow(/EADDRINUSE/);
      await busy.server.stop();
      await rm(busy.folder, { recursive: true, force: true });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
