import { describe, expect, it } from "vitest";
import { createMetrics } from "#common/metrics.ts";
import type { StorageUsage } from "./storage.ts";
import { registerStorageMetrics } from "./storage-metrics.ts";

function rendered(usage: (() => StorageUsage | undefined) | undefined): string {
  const metrics = createMetrics();
  registerStorageMetrics(metrics, usage === undefined ? {} : { usage });
  return metrics.render();
}

describe("the metrics of a store", () => {
  it("tell its size, what of it is free and whether it is in trouble", () => {
    const text = rendered(() => ({ sizeBytes: 100, usedBytes: 60, limitBytes: 500, trouble: "full" }));
    for (const line of ["size_bytes 100", "used_bytes 60", "free_bytes 40", "limit_bytes 500", "trouble 1"])
      expect(text).toContain(`\ncoffer_storage_${line}\n`);
    expect(text).not.toContain("\ncoffer_storage_map_bytes ");
  });

  it("are left out, and fail no scrape, where nothing is known", () => {
    const failing = () => {
      throw new Error("closed");
    };
    for (const text of [rendered(undefined), rendered(() => undefined), rendered(failing)])
      expect(text).not.toContain("\ncoffer_storage_size_bytes ");
  });
});
