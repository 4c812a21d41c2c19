import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import { cli } from "#test/run-cli.ts";

describe("storage migrate", () => {
  let home: string;
  const run = (...argv: string[]) => cli({ home }, "storage", "migrate", ...argv);

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "coffer-migrate-"));
    const storages = {
      here: `storage "lmdb" { path = "${home}/here" }`,
      there: `storage "file" { path = "${home}/there" }\nlistener "tcp" { address = "127.0.0.1:1" }`,
      nowhere: `storage "lmdb" { path = "${home}/nowhere" }`,
      memory: 'storage "inmem" {}',
      unknown: 'storage "consul" {}',
      none: "ui = true",
    };
    for (const [name, text] of Object.entries(storages)) await writeFile(join(home, `${name}.hcl`), text);
    const storage = await openLmdbStorage({ path: join(home, "here"), log: silentLog, clock: new FakeClock() });
    const writes = new Map([
      ["core/cluster", Buffer.from("c")],
      ["mount/a", Buffer.from("secret value")],
    ]);
    await storage.commit({ expected: new Map(), writes });
    await storage.close();
  });
  afterAll(() => rm(home, { recursive: true }));

  it("plans, copies, verifies, and says what to do next", async () => {
    const planned = await run("-from=here.hcl", "-to=there.hcl", "-dry-run");
    expect(planned).toMatchObject({ code: 0, stderr: "" });
    expect(planned.stdout).toContain("Would copy 2 entries, 32 bytes from lmdb to lmdb. Nothing was written.");
    const done = await run("-from=here.hcl", "-to=there.hcl");
    expect(done).toMatchObject({ code: 0, stderr: "" });
    expect(done.stdout).toMatch(/Verified: both sides have 2 entries and the digest [0-9a-f]{64}\./);
    expect(done.stdout).toContain("Next: start the servers with there.hcl (same seal stanzas as before)");
    expect(done.stdout).not.toContain("secret value");
  });

  it.each([
    [["-to=there.hcl"], "give -from=FILE, a server's configuration"],
    [["-from=missing.hcl", "-to=there.hcl"], "-from: cannot read missing.hcl"],
    [["-from=none.hcl", "-to=there.hcl"], "a storage stanza is missing"],
    [["-from=memory.hcl", "-to=there.hcl"], "-from: inmem keeps nothing after its process; name one of lmdb, etcd"],
    [["-from=here.hcl", "-to=unknown.hcl"], "-to: there is no storage type consul"],
    [["-from=nowhere.hcl", "-to=there.hcl"], "there is no store in"],
    [["-from=nowhere.hcl", "-to=there.hcl", "-online"], "there is no store in"],
    [["-from=here.hcl", "-to=here.hcl"], "the destination is not empty"],
    [["-from=here.hcl", "-to=there.hcl", "more"], 'the argument "more" is one too many'],
  ])("refuses %j", async (argv, message) => {
    expect(await run(...argv)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(message) });
    await expect(access(join(home, "nowhere"))).rejects.toThrow("ENOENT");
  });
});
