// What a server loads at its start: nothing that its configuration does not ask for. The SDKs of clouds are some
// megabytes of code, and Express is a quarter of the time to start.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";

/** Tells each file of a package that Node loads. */
const TELL = `import { registerHooks } from "node:module";
registerHooks({ load(url, context, next) {
  const file = url.split("/node_modules/").at(-1);
  if (file !== url) console.error("loaded " + file);
  return next(url, context);
} });`;
const PACKAGE = /^loaded ((?:@[^/\s]+\/)?[^/\s]+)/gm;
const KV = { operation: "update", path: "sys/mounts/secret", data: { type: "kv" } };

describe("a server's start", () => {
  it("loads no SDK of a cloud, no other storage and no Express, until somebody opens a page", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-start-"));
    const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "one" } };
    const config = await writeConfig(folder, { seal, bootstrap: { request: { kv: KV } } });
    const server = await startServer(
      [`-config=${config}`],
      [`--import=data:text/javascript,${encodeURIComponent(TELL)}`],
    );
    const loaded = () => new Set([...server.output().matchAll(PACKAGE)].map(([, name]) => name));
    try {
      await untilUnsealed(server);
      expect(loaded()).toContain("lmdb");
      const unasked = [...loaded()].filter((name) =>
        /^(@aws-sdk\/|@smithy\/|@kubernetes\/|pg$|openpgp$|express$)/.test(name ?? ""),
      );
      expect(unasked).toEqual([]);
      const page = await fetch(`${server.address}/ui/`);
      expect(await page.text()).toContain("<h1>Coffer</h1>");
      expect(loaded()).toContain("express");
    } finally {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
