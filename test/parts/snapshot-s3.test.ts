// Scheduled snapshots in a bucket, against moto's S3: in parts, listed, read back, removed; and by a real server.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { Destination } from "#server/snapshot/destination.ts";
import { s3Destination } from "#server/snapshot/s3-destination.ts";
import { type Moto, startMoto } from "#test/kit/moto.ts";
import { startShamirServer } from "#test/kit/server.ts";

const BUCKET = "backups";
const NAME = "coffer-20260101T000000Z-0123abcd.snap";
const REGION = "eu-central-1";
/** Three parts of a multi-part upload. */
const LARGE = 40 * 1024 * 1024;
const AWS = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" };

let moto: Moto | { readonly unavailable: string };
const saved = { ...process.env };

beforeAll(async () => {
  moto = await startMoto(process.env);
  if ("unavailable" in moto) return;
  Object.assign(process.env, AWS);
  const made = await fetch(`${moto.endpoint}/${BUCKET}`, {
    method: "PUT",
    body: `<CreateBucketConfiguration><LocationConstraint>${REGION}</LocationConstraint></CreateBucketConfiguration>`,
  });
  expect(made.status, await made.text()).toBe(200);
}, 120_000);
afterAll(async () => {
  for (const name of Object.keys(AWS)) {
    if (saved[name] === undefined) delete process.env[name];
    else process.env[name] = saved[name];
  }
  if ("endpoint" in moto) await moto.close();
});

function destination(bucket = BUCKET): Destination | undefined {
  if ("unavailable" in moto) {
    expect(process.env["CI"], moto.unavailable).not.toBe("true");
    return undefined;
  }
  return s3Destination({
    ...{ intervalMillis: 1, retain: 1, verifyMillis: 0, directory: undefined },
    ...{ bucket, prefix: "nightly/", region: REGION, endpoint: moto.endpoint },
  });
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

describe("a bucket", () => {
  it("keeps what comes as a stream, in parts, and gives it back", async (context) => {
    const place = destination();
    if (!place) return context.skip("moto is not to be had here");
    const large = randomBytes(LARGE);
    const later = NAME.replace("20260101", "20260102");
    const halves = [large.subarray(0, LARGE / 2), large.subarray(LARGE / 2)];
    await place.put(later, Readable.from(halves));
    await place.put(NAME, Readable.from([Buffer.from("small")]));
    expect(await place.list()).toEqual([NAME, later]);
    expect(Buffer.compare(await bytesOf(await place.get(later)), large)).toBe(0);
    await place.remove(NAME);
    expect(await place.list()).toEqual([later]);
    await expect(place.get(NAME)).rejects.toMatchObject({ code: "not_found" });
    await expect(place.get("../other")).rejects.toMatchObject({ code: "invalid_request" });
    await place.remove(later);
  });

  it("has nothing of a snapshot that failed on its way", async (context) => {
    const place = destination();
    if (!place) return context.skip("moto is not to be had here");
    const broken = Readable.from(
      (async function* () {
        yield randomBytes(LARGE / 2);
        throw new Error("the storage went away");
      })(),
    );
    await expect(place.put(NAME, broken)).rejects.toThrow("the storage went away");
    expect(await place.list()).toEqual([]);
  });

  it("that is not there is a failure that says so", async (context) => {
    const place = destination("no-such-bucket");
    if (!place) return context.skip("moto is not to be had here");
    await expect(place.put(NAME, Readable.from([Buffer.from("x")]))).rejects.toThrow("bucket");
  });

  it("gets a server's snapshot by its configuration, tried", async (context) => {
    if (!("endpoint" in moto)) return context.skip("moto is not to be had here");
    const snapshots = { s3_bucket: BUCKET, s3_prefix: "server/", s3_region: REGION, s3_endpoint: moto.endpoint };
    const server = await startShamirServer({ snapshots: { ...snapshots, interval: "1h" } });
    try {
      const deadline = systemClock.now() + 40_000;
      for (;;) {
        const response = await fetch(`${server.address}/v1/sys/storage/snapshot-status`, {
          headers: { "X-Vault-Token": server.rootToken },
        });
        const { data } = (await response.json()) as { data: { last_verified: { entries: number } | null } };
        if (data.last_verified !== null) {
          expect(data).toMatchObject({ failing: false, stored: [expect.stringMatching(/^coffer-/)] });
          expect(data.last_verified.entries).toBeGreaterThan(10);
          return;
        }
        if (systemClock.now() > deadline) throw new Error(`${JSON.stringify(data)}\n${server.output()}`);
        await systemClock.sleep(300);
      }
    } finally {
      await server.stop();
    }
  });
});
