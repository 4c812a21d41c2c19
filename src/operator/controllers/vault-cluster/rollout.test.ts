import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { rolloutOf } from "./rollout.ts";

const late = { type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" };
const deployment = (status: JsonObject) => ({
  ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "main", generation: 2 } },
  status: { observedGeneration: 2, replicas: 4, updatedReplicas: 1, ...status },
});

describe("an update of the servers", () => {
  it("is nothing without servers", () => {
    expect(rolloutOf(undefined)).toBeUndefined();
  });
  it("has begun before Kubernetes has looked at it", () => {
    expect(rolloutOf(deployment({ observedGeneration: 1, updatedReplicas: 3, replicas: 3 }))).toEqual({
      ...{ updated: 0, total: 3, halted: undefined },
    });
  });
  it("goes on while pods get ready", () => {
    const progressing = { ...late, status: "True", reason: "ReplicaSetUpdated" };
    expect(rolloutOf(deployment({ conditions: [progressing] }))).toEqual({ updated: 1, total: 4, halted: undefined });
  });
  it("is halted when one does not", () => {
    expect(rolloutOf(deployment({ conditions: [late] }))?.halted).toContain("the old ones go on serving");
  });
  it("is not halted by the first servers of a cluster, which may wait for their key", () => {
    expect(rolloutOf(deployment({ conditions: [late], replicas: 3, updatedReplicas: 3 }))?.halted).toBeUndefined();
  });
  it("is not halted by what was before a correction", () => {
    expect(rolloutOf(deployment({ conditions: [late], observedGeneration: 1 }))?.halted).toBeUndefined();
  });
});
