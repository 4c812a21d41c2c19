// The bench of the operator in small, with limits: what it promises of ten thousand bindings holds of two hundred.
import { describe, expect, it } from "vitest";
import { findKubePrograms } from "#test/kit/kube-api.ts";
import { startWorld } from "#test/operator/world.ts";
import { findHelm } from "#test/parts/helm.ts";
import { fill, measure } from "../../bench/operator/measure.ts";

const programs = findHelm(process.env) === undefined ? undefined : findKubePrograms(process.env);
const LOAD = { bindings: 200, namespaces: 5 };
const MIB = 2 ** 20;

describe.skipIf(programs === undefined)("two hundred bindings", () => {
  it("are synced, edited first come, and left alone by a restart", async () => {
    await using world = await startWorld(programs ?? "", { operator: { secretNamespaces: ["*"] } });
    await fill(world, LOAD);
    const found = await measure(world, LOAD, 2000);
    expect(found.restartWrites).toBe(0);
    expect(found.memoryBytes).toBeLessThan(320 * MIB);
    // On a machine of its own both are far below; these hold on one that runs all tests at once.
    expect(Math.max(...found.editMillis)).toBeLessThan(2000);
    expect(found.idleCores).toBeLessThan(0.2);
  });
});
