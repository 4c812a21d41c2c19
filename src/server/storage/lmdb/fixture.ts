// A directory for the conformance suite to keep a store in.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StorageFixture } from "../registry.ts";

export async function startFixture(): Promise<StorageFixture> {
  const path = await mkdtemp(join(tmpdir(), "coffer-lmdb-"));
  return { config: { path }, stop: () => rm(path, { recursive: true, force: true }) };
}
