import { describe, expect, it } from "vitest";
import { CofferError, errorCodes } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { createLog, silentLog } from "#common/log.ts";
import { startCore } from "#test/kit/core.ts";
import type { Reply } from "../framework/reply.ts";
import { ROOT_SCOPE } from "../namespaces/namespace-scope.ts";
import { encodeError, encodeReply } from "./encode.ts";
import type { RequestState } from "./request-state.ts";

const REQUEST: RequestState["request"] = {
  ...{ id: "req-1", operation: "read", path: "p/a", namespace: "", clientToken: "", data: {}, query: {} },
  ...{ wrapTtlSeconds: undefined, remoteAddress: "127.0.0.1", remotePort: 1, page: { limit: 1 } },
};

const stateOf = (reply: Reply | undefined, more: Partial<RequestState> = {}): RequestState => ({
  ...{
    request: REQUEST,
    tx: undefined,
    scope: ROOT_SCOPE,
    operation: "read",
    warnings: [],
    audited: { request: false },
  },
  reply,
  ...more,
});

const EMPTY =
  '"lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":null';

describe("the status of an answer", () => {
  it.each<[string, Reply | undefined, Partial<RequestState>, number, string | undefined]>([
    ["nothing there", undefined, {}, 404, '{"errors":[]}\n'],
    [
      "nothing there, with a warning",
      undefined,
      { warnings: ["w"] },
      404,
      `{"request_id":"req-1",${EMPTY.replace('"warnings":null', '"warnings":["w"]')}}\n`,
    ],
    ["done, nothing to say", {}, {}, 204, undefined],
    ["done, with its own status", { status: 202 }, {}, 202, undefined],
    ["data", { data: { a: 1 } }, {}, 200, `{"request_id":"req-1",${EMPTY.replace('"data":null', '"data":{"a":1}')}}\n`],
    ["data with a status of its own", { data: {}, status: 404 }, {}, 404, undefined],
    ["a bare body", { bare: { sealed: true } }, {}, 200, '{"sealed":true}\n'],
    ["a bare body with a status", { bare: {}, status: 503 }, {}, 503, "{}\n"],
    ["bytes", { raw: { contentType: "text/plain", body: "x" } }, {}, 200, "x"],
  ])("%s", (_what, reply, more, status, body) => {
    const answer = encodeReply(stateOf(reply, more));
    expect(answer.status).toBe(status);
    if (body !== undefined) expect(answer.body).toBe(body);
    if (status === 204) expect(answer.body).toBeUndefined();
  });

  it.each(errorCodes().map(({ code, status }) => [code, status] as const))("%s is %i", (code, status) => {
    const answer = encodeError(new CofferError(code, "why"), REQUEST, silentLog);
    expect([answer.status, answer.body]).toEqual([status, '{"errors":["why"]}\n']);
  });

  it("of a refusal without words has an empty list", () => {
    expect(encodeError(new CofferError("not_found", ""), REQUEST, silentLog).body).toBe('{"errors":[]}\n');
  });

  it("of an unexpected error is 500 with the id under which the log has the cause", () => {
    const lines: string[] = [];
    const log = createLog({ level: "error", format: "json", write: (line) => lines.push(line), now: () => 0 });
    const answer = encodeError(new TypeError("x is no function"), REQUEST, log);
    expect(answer.status).toBe(500);
    expect(String(answer.body)).toContain("req-1");
    expect(String(answer.body)).not.toContain("x is no function");
    expect(lines.join("")).toContain("x is no function");
  });
});

describe("the body of an answer", () => {
  it("has the envelope in its order and what is inside sorted", () => {
    const { body } = encodeReply(stateOf({ data: { b: { d: 1, c: [{ z: 1, y: 2 }] }, a: "x" } }));
    expect(body).toContain('"data":{"a":"x","b":{"c":[{"y":2,"z":1}],"d":1}}');
    expect(Object.keys(JSON.parse(String(body)))).toEqual([
      ...["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"],
    ]);
  });

  it("escapes what a browser could take for markup", () => {
    const { body } = encodeReply(stateOf({ data: { "<b>": "a & b </script>" } }));
    expect(String(body)).toContain('"\\u003cb\\u003e":"a \\u0026 b \\u003c/script\\u003e"');
    const error = encodeError(new CofferError("invalid_request", "<x>"), REQUEST, silentLog);
    expect(error.body).toBe('{"errors":["\\u003cx\\u003e"]}\n');
  });

  it("repeats data at the top where a path says so, the envelope's own names excepted", () => {
    const { body } = encodeReply(stateOf({ data: { keys: ["a"], auth: "mine" }, repeatAtTop: true }));
    expect(JSON.parse(String(body))).toMatchObject({ keys: ["a"], auth: null, data: { keys: ["a"], auth: "mine" } });
  });

  it("keeps numbers that a double cannot hold", async () => {
    const core = await startCore();
    await core.root("update", "sys/mounts/secret", { type: "kv" });
    const sent = parseJson('{"big":9007199254740993,"exact":1.10}');
    if (!isJsonObject(sent)) throw new Error("it is an object");
    await core.root("update", "secret/n", sent);
    expect((await core.root("read", "secret/n")).text).toContain('"data":{"big":9007199254740993,"exact":1.10}');
  });

  it("of a wrapped answer has nothing of what was wrapped", () => {
    const wrapInfo = { token: "t", accessor: "a", ttl: 60, creation_time: "now", creation_path: "p/a" };
    const { body } = encodeReply(stateOf({ data: { secret: "s" } }, { wrapInfo }));
    expect(JSON.parse(String(body))).toMatchObject({ data: null, wrap_info: wrapInfo, request_id: "" });
  });

  it("of an unwrapped one is what was kept, under the new request's id", () => {
    const { body } = encodeReply(stateOf({ envelope: { request_id: "", data: { a: 1 } } }));
    expect(JSON.parse(String(body))).toEqual({ request_id: "req-1", data: { a: 1 } });
  });
});
