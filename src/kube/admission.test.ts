import { describe, expect, it } from "vitest";
import {
  ADMISSION_BODY_BYTES_MAX,
  encodeAdmissionReview,
  jsonPointer,
  parseAdmissionReview,
  WARNING_CHARACTERS_MAX,
  WARNINGS_MAX,
} from "./admission.ts";

const REQUEST = {
  uid: "u-1",
  kind: { group: "", version: "v1", kind: "Pod" },
  resource: { group: "", version: "v1", resource: "pods" },
  namespace: "a",
  operation: "CREATE",
  userInfo: { username: "me", groups: ["g"], extra: { a: ["b"] } },
  object: { metadata: { generateName: "p-" } },
  oldObject: null,
  dryRun: true,
  options: { kind: "CreateOptions" },
};
const review = (request: object, more: object = {}) =>
  JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request, ...more });

describe("admission reviews", () => {
  it("are read with what the API server leaves out", () => {
    expect(parseAdmissionReview(Buffer.from(review(REQUEST)))).toEqual({
      uid: "u-1",
      kind: REQUEST.kind,
      resource: REQUEST.resource,
      name: "",
      namespace: "a",
      operation: "CREATE",
      userInfo: { username: "me", groups: ["g"] },
      object: REQUEST.object,
      dryRun: true,
    });
  });
  it("are refused when they are none", () => {
    expect(() => parseAdmissionReview("{")).toThrow("JSON");
    expect(() => parseAdmissionReview(review(REQUEST, { apiVersion: "admission.k8s.io/v1beta1" }))).toThrow("v1");
    expect(() => parseAdmissionReview(review({ ...REQUEST, operation: "LOOK" }))).toThrow("request.operation");
    expect(() => parseAdmissionReview(review({ ...REQUEST, uid: 1 }))).toThrow("request.uid");
  });
  it("are refused above the limit of size", () => {
    const text = review(REQUEST);
    expect(parseAdmissionReview(text.padEnd(ADMISSION_BODY_BYTES_MAX)).uid).toBe("u-1");
    expect(() => parseAdmissionReview(text.padEnd(ADMISSION_BODY_BYTES_MAX + 1))).toThrow("larger");
  });
  it("carry a patch and warnings when allowed", () => {
    const patch = [{ op: "add", path: jsonPointer("metadata", "labels", "a/b~c"), value: "x" }] as const;
    const answer = JSON.parse(encodeAdmissionReview({ uid: "u-1", allowed: true, patch, warnings: ["careful"] }));
    expect(answer.response).toMatchObject({ uid: "u-1", allowed: true, patchType: "JSONPatch", warnings: ["careful"] });
    const text = Buffer.from(answer.response.patch, "base64").toString();
    expect(JSON.parse(text)).toEqual([{ op: "add", path: "/metadata/labels/a~1b~0c", value: "x" }]);
  });
  it("carry the reason and never a patch when denied", () => {
    const patch = [{ op: "remove", path: "/a" }] as const;
    const answer = JSON.parse(encodeAdmissionReview({ uid: "u-1", allowed: false, message: "no such binding", patch }));
    expect(answer.response).toEqual({
      uid: "u-1",
      allowed: false,
      status: { status: "Failure", code: 403, reason: "Forbidden", message: "no such binding" },
    });
  });
  it("hold warnings to what the API server shows", () => {
    const warnings = Array.from({ length: WARNINGS_MAX + 1 }, () => "w".repeat(WARNING_CHARACTERS_MAX + 1));
    const { response } = JSON.parse(encodeAdmissionReview({ uid: "u", allowed: true, warnings }));
    expect(response.warnings.length).toBe(WARNINGS_MAX);
    expect(response.warnings[0].length).toBe(WARNING_CHARACTERS_MAX);
  });
});
