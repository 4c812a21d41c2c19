// `audit verify` over the chain of a real server in this process: every way of tampering is found and placed.
import { appendFile, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isJsonObject, parseJson } from "#common/json.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { type CliResult, cli } from "#test/run-cli.ts";

let folder: string;
let log: string;
let server: InProcessServer;
let api: Awaited<ReturnType<typeof startApi>>;

/** The two operations that the command uses, over HTTP. */
async function startApi() {
  const http = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const body = chunks.length === 0 ? {} : parseJson(Buffer.concat(chunks).toString("utf8"));
    const path = (request.url ?? "").replace(/^\/v1\//, "");
    const answer = await server.call(
      request.method === "GET" ? "read" : "update",
      path,
      isJsonObject(body) ? body : {},
    );
    response.writeHead(answer.status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo; // listens on a port, so there is one
  return { address: `http://127.0.0.1:${port}`, close: () => new Promise((resolve) => http.close(resolve)) };
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-audit-"));
  log = join(folder, "audit.log");
  server = await startInProcessServer();
  api = await startApi();
  expect((await server.call("update", "sys/audit/file", { type: "file", options: { file_path: log } })).status).toBe(
    204,
  );
  for (let i = 0; i < 4; i++) await server.call("read", "sys/mounts");
});

afterEach(async () => {
  await server.server.services.audit.close();
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

function verify(...words: string[]): Promise<CliResult> {
  return cli({ address: api.address }, "audit", "verify", "-format=table", ...words);
}

/** Verifies a changed copy, so that what the server writes meanwhile does not matter. */
async function verifyChanged(change: (lines: string[]) => string[]): Promise<CliResult> {
  const lines = (await readFile(log, "utf8")).trimEnd().split("\n");
  const copy = join(folder, "copy.log");
  await writeFile(copy, `${change(lines).join("\n")}\n`);
  return verify(copy);
}

const numberOf = (line: string | undefined) => Number(/"number":(\d+)/.exec(line ?? "")?.[1]);

describe("audit verify", () => {
  it("accepts what was written, while it is being written", async () => {
    const result = await verify("-live", log);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/^\d+ lines: all as they were written\.\n$/);
  });

  it("finds an edited line, also when it is the last", async () => {
    for (const at of [2, 8]) {
      const result = await verifyChanged((lines) =>
        lines.map((line, i) => (i === at ? line.replace("127.0.0.1", "127.0.0.9") : line)),
      );
      expect(result.code).toBe(2);
      expect(result.stdout).toContain(
        `copy.log:${at + 1}: this line was changed after it was written (number ${at + 1} `,
      );
      expect(result.stdout).toContain(": 1 problem.");
    }
  });

  it("finds an edit of the chain itself", async () => {
    const swapped = await verifyChanged((lines) =>
      lines.map((line, i) => (i === 3 ? line.replace('"number":4', '"number":5') : line)),
    );
    expect(swapped.stdout).toContain("copy.log:4: this line was changed");
    const bare = await verifyChanged((lines) =>
      lines.map((line, i) => (i === 3 ? line.replace(/,"chain":.*$/, "}") : line)),
    );
    expect(bare.stdout).toContain("copy.log:4: this line has no chain");
  });

  it("finds removed lines: one, several, and the first", async () => {
    const middle = await verifyChanged((lines) => lines.filter((_, i) => i !== 2 && i !== 3));
    expect(middle.stdout).toMatch(
      /copy\.log:3: this line comes after what is missing: lines number 3 to 4 of writer .* were removed/,
    );
    const one = await verifyChanged((lines) => lines.filter((_, i) => i !== 4));
    expect(one.stdout).toMatch(/copy\.log:5: .* line number 5 of writer .* was removed/);
    const first = await verifyChanged((lines) => lines.slice(1));
    expect(first.stdout).toContain("copy.log:1: this line begins in the middle");
    expect([middle.code, one.code, first.code]).toEqual([2, 2, 2]);
  });

  it("finds lines in another order, and says which", async () => {
    const result = await verifyChanged(([a = "", b = "", c = "", ...rest]) => [a, c, b, ...rest]);
    expect(result.code).toBe(2);
    expect(result.stdout).toContain("copy.log:3: this line stands in the wrong place (number 2 ");
    expect(result.stdout).toContain(": 1 problem.");
  });

  it("finds added lines and notes copied ones", async () => {
    const added = await verifyChanged((lines) => [...lines.slice(0, 3), '{"time":"x"}', ...lines.slice(3)]);
    expect(added.stdout).toContain("copy.log:4: this line has no chain: it was added");
    const copied = await verifyChanged((lines) => [...lines, lines[1] ?? ""]);
    expect(copied.code).toBe(0);
    expect(copied.stdout).toContain("note: this line stands there twice");
  });

  it("finds lines that were cut off the end of a live log", async () => {
    const lines = (await readFile(log, "utf8")).trimEnd().split("\n");
    const copy = join(folder, "copy.log");
    await writeFile(copy, `${lines.slice(0, -2).join("\n")}\n`);
    const result = await verify("-live", copy);
    expect(result.code).toBe(2);
    expect(result.stdout).toMatch(/the server has written \d+ lines as writer [\w-]{11}, the log ends with number 7\n/);
    expect((await verify(copy)).code).toBe(0);
  });

  it("follows a log through rotation, truncation and restart", async () => {
    await rename(log, `${log}.1`);
    await server.clock.advance(100); // the device looks at the name ten times a second
    await server.call("read", "sys/mounts");
    const rotated = (await readFile(log, "utf8")).split("\n")[0];
    expect(rotated).toContain('"start":"rotated"');
    const alone = await verify(log);
    expect(alone.code).toBe(0);
    expect(alone.stdout).toContain("the lines before stood in another file; give that file first");
    expect((await verify(`${log}.1`, log)).stdout).toMatch(/^\d+ lines: all as they were written\.\n$/);

    await truncate(log, 0);
    await server.call("read", "sys/mounts");
    expect((await verify(log)).stdout).toContain("stood in this file before it was cut");

    await server.server.services.audit.close();
    await appendFile(log, '{"time":"2026-01-01T00:00:00Z","type":"requ'); // as a crash leaves it
    await server.call("read", "sys/mounts");
    const restarted = await verify(log);
    expect(restarted.code).toBe(0);
    expect(restarted.stdout).toContain("note: this line is not whole: a write was cut off");
    const text = await readFile(log, "utf8");
    const beforeRestart = text.split("\n").find((line) => line.includes('"start":"continued"'));
    expect(numberOf(beforeRestart)).toBe(1);
    const lost = join(folder, "lost.log");
    const lines = text.split("\n");
    const at = lines.indexOf(beforeRestart ?? "");
    await writeFile(lost, lines.filter((_, i) => i !== at - 2).join("\n")); // the line that it continues from
    expect(await verify(lost)).toMatchObject({ code: 2 });
    expect((await verify(lost)).stdout).toContain("continues from a line that is not there");
  });

  it("answers as JSON, and says what it cannot read", async () => {
    const result = await cli({ address: api.address }, "audit", "verify", "-format=json", log);
    expect(JSON.parse(result.stdout)).toMatchObject({ problems: 0, findings: [] });
    const missing = await verify(join(folder, "none.log"));
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("cannot read");
    const unknown = await verify("-device=other", log);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('unknown audit backend "other/"');
  });
});
