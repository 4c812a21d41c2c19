// Keys are bytes that are zeroed, never strings that stay: looked for in the heap of a server that KMS has unsealed.
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { parseJson } from "#common/json.ts";
import { startAwsResponder } from "#test/kit/aws/responder.ts";

it("holds neither the root key nor a term's key as text", async () => {
  const aws = await startAwsResponder({ aliases: ["alias/coffer"] });
  const folder = await mkdtemp(join(tmpdir(), "coffer-heap-"));
  const program = join(import.meta.dirname, "../kit/key-heap.ts");
  const { accessKeyId: ACCESS, secretAccessKey: SECRET } = aws.credentials;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", program, join(folder, "heap")],
    { env: { ...process.env, KMS: aws.endpoint, ACCESS, SECRET } },
  );
  await rm(folder, { recursive: true });
  await aws.close();
  expect(parseJson(stdout)).toEqual({ found: ["planted"], terms: [32, 32], kept: 2, state: "unsealed" });
});
