import { beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { RANDOM_BYTES_MAX } from "./tools-paths.ts";

describe("sys/tools", () => {
  let server: InProcessServer;
  beforeAll(async () => {
    server = await startInProcessServer();
  });
  const post = (path: string, data: JsonObject = {}) => server.call("update", `sys/tools/${path}`, data);
  const bytesOf = (answer: { data: JsonObject }, encoding: "hex" | "base64") =>
    Buffer.from(String(answer.data["random_bytes"]), encoding).length;

  it("makes random bytes: as many as the path, the body or nobody says", async () => {
    expect(bytesOf(await post("random"), "base64")).toBe(32);
    expect(bytesOf(await post("random", { bytes: 5 }), "base64")).toBe(5);
    expect(bytesOf(await post("random/7", { format: "hex" }), "hex")).toBe(7);
    expect(bytesOf(await post("random/platform/9"), "base64")).toBe(9);
    expect(bytesOf(await post("random/platform", { bytes: 11 }), "base64")).toBe(11);
    expect(bytesOf(await post("random", { urlbytes: "13" }), "base64")).toBe(13);
    expect(bytesOf(await post("random/15", { urlbytes: "13" }), "base64")).toBe(15);
    expect((await post("random", { urlbytes: "x" })).error).toContain("url-set byte count");
    const { data } = await post("hash", { input: "YQ==", urlalgorithm: "sha2-512" });
    expect(data).toEqual((await post("hash/sha2-512", { input: "YQ==" })).data);
    expect((await post("random")).data).not.toEqual((await post("random")).data);
  });

  it("says so when the seal is asked for entropy that it does not give", async () => {
    expect((await post("random/seal/4")).body["warnings"]).toEqual([
      "no seal entropy source is configured; the platform's was used",
    ]);
  });

  it("holds the limits at max and max + 1", async () => {
    expect(bytesOf(await post("random", { bytes: RANDOM_BYTES_MAX }), "base64")).toBe(RANDOM_BYTES_MAX);
    expect((await post("random", { bytes: RANDOM_BYTES_MAX + 1 })).status).toBe(400);
    expect((await post("random", { bytes: 0 })).error).toBe("'bytes' cannot be less than 1");
    expect((await post("random/abc")).error).toContain('parsing "abc": invalid syntax');
    expect((await post("random/moon/4")).error).toContain("unsupported entropy source");
  });

  it("hashes: known answers of FIPS 180-4 and FIPS 202", async () => {
    const input = Buffer.from("abc").toString("base64");
    expect((await post("hash", { input })).data["sum"]).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
    expect((await post("hash/sha3-256", { input })).data["sum"]).toBe(
      "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    );
    expect((await post("hash", { input, algorithm: "sha2-224", format: "base64" })).data["sum"]).toBe(
      Buffer.from("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7", "hex").toString("base64"),
    );
  });

  it.each(["***", "YQ", "YQ=", "Y===", "YWJj\n"])("refuses %j, which is no base64", async (input) => {
    expect((await post("hash", { input })).error).toContain("illegal base64 data at input byte");
  });
});
