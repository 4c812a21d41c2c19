import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { driftedFiles, writeFiles } from "./drift.ts";

describe("generated files", () => {
  it("are what the generators make (else: npm run generate)", async () => {
    expect(await driftedFiles(fileURLToPath(new URL("../..", import.meta.url)))).toEqual([]);
  });

  it("are noticed when edited by hand, and repaired", async () => {
    const root = await mkdtemp(join(tmpdir(), "coffer-generate-"));
    try {
      await writeFiles(root);
      expect(await driftedFiles(root)).toEqual([]);
      await writeFile(join(root, "crds/vaultclusters.yaml"), "edited");
      expect(await driftedFiles(root)).toEqual(["crds/vaultclusters.yaml"]);
      expect(await writeFiles(root)).toEqual(["crds/vaultclusters.yaml"]);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
