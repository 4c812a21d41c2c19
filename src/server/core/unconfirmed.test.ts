import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { startCore } from "#test/kit/core.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";

const UNCONFIRMED = "the write may or may not have been done";

describe("a commit that the storage did not confirm", () => {
  it("is told as such although the storage is away when the failure is dealt with", async () => {
    const storage = openMemoryStorage();
    const core = await startCore({ storage });
    await core.root("update", "sys/mounts/kv", { type: "kv" });
    const [get, commit] = [storage.get.bind(storage), storage.commit.bind(storage)];
    storage.commit = async (batch) => {
      await commit(batch);
      storage.get = () => Promise.reject(new CofferError("unavailable", "no database answers"));
      throw new CofferError("unconfirmed", UNCONFIRMED);
    };
    const { status, error } = await core.send(core.rootToken, "update", "kv/a", { n: "1" });
    expect(status).toBe(503);
    expect(error).toBe(UNCONFIRMED);
    Object.assign(storage, { get, commit });
    expect((await core.root("read", "kv/a")).data).toEqual({ n: "1" });
  });
});
