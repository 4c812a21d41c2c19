// Tokens against the AWS SDK's own signer, which stands beside the credentials chain in node_modules.
import { createHash, createHmac } from "node:crypto";
import { SignatureV4 } from "@smithy/signature-v4";
import { describe, expect, it } from "vitest";
import { iamToken } from "./iam-token.ts";

class Sha256 {
  readonly #hash: ReturnType<typeof createHash> | ReturnType<typeof createHmac>;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    const key = typeof secret === "string" ? secret : secret && Buffer.from(bytesOf(secret));
    this.#hash = key === undefined ? createHash("sha256") : createHmac("sha256", key);
  }
  update(chunk: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof chunk === "string" ? chunk : bytesOf(chunk));
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {}
}

const bytesOf = (data: ArrayBuffer | ArrayBufferView) =>
  ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);

const NOW = Date.UTC(2026, 10, 25, 2, 3, 4);
const request = { host: "db.abc.eu-central-1.rds.amazonaws.com", port: 5432, region: "eu-central-1", now: NOW };

describe("a token for RDS", () => {
  it.each([
    ["coffer", undefined],
    ["co+ffer user*(é)", "a/session+token=="],
  ])("of %s is what the SDK signs", async (user, sessionToken) => {
    const credentials = {
      accessKeyId: "AKIDEXAMPLE",
      secretAccessKey: "secret/key",
      ...(sessionToken && { sessionToken }),
    };
    const signer = new SignatureV4({ service: "rds-db", region: request.region, credentials, sha256: Sha256 });
    const { host, port } = request;
    const signed = await signer.presign(
      {
        method: "GET",
        protocol: "https:",
        hostname: host,
        port,
        path: "/",
        query: { Action: "connect", DBUser: user },
        headers: { host: `${host}:${port}` },
      },
      { expiresIn: 900, signingDate: new Date(NOW) },
    );
    const token = iamToken({ ...request, user, credentials });
    const query = new URLSearchParams(token.slice(token.indexOf("?")));
    expect(token.startsWith(`${host}:${port}/?Action=connect&DBUser=`)).toBe(true);
    expect(Object.fromEntries(query)).toEqual(signed.query);
  });
});
