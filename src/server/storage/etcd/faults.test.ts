import { describe, expect, it } from "vitest";
import { isRefused, storageError } from "./faults.ts";
import { ConnectionError, GRPC, GrpcError } from "./grpc.ts";

describe("a write that failed", () => {
  it.each([
    ["a connection that broke after it was sent", new ConnectionError("broke", true)],
    ["a member that stops", new GrpcError(GRPC.unavailable, "etcdserver: server stopped")],
    [
      "a leader that was lost",
      new GrpcError(GRPC.unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
    ],
    ["a deadline", new GrpcError(GRPC.deadlineExceeded, "context deadline exceeded")],
    ["a cancelled request", new GrpcError(1, "context canceled")],
    ["what etcd does not explain", new GrpcError(2, "raft: proposal dropped")],
  ])("is unconfirmed and not done again: %s", (_name, error) => {
    expect(isRefused(error)).toBe(false);
    const told = storageError("write", error);
    expect(told.code).toBe("unconfirmed");
    expect(told.message).toContain("may or may not have been done");
    expect(storageError("read", error).code).toBe("unavailable");
  });

  it.each([
    ["a connection that was not there", new ConnectionError("closed", false)],
    ["a member without a leader", new GrpcError(GRPC.unavailable, "etcdserver: no leader")],
    ["a member with too much to do", new GrpcError(GRPC.resourceExhausted, "etcdserver: too many requests")],
    ["a full database", new GrpcError(GRPC.resourceExhausted, "etcdserver: mvcc: database space exceeded")],
    ["a user without rights", new GrpcError(GRPC.permissionDenied, "etcdserver: permission denied")],
  ])("was certainly not done: %s", (_name, error) => {
    expect(storageError("write", error).code).toBe("unavailable");
  });
});
