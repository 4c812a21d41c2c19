// Held against Go's text/template and encoding/json: the expectations are what a Go program printed for these data with
// the two templates in the head of vault-default.ts.
import { describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { vaultJson, vaultMap } from "./vault-default.ts";

function data(text: string): JsonObject {
  const value = parseJson(text);
  if (!isJsonObject(value)) throw new Error("not an object");
  return value;
}

const KV2 = data(
  '{"data":{"password":"s<3&","port":5432,"ratio":1.10,"tls":true,"none":null,"list":["a",1,null,{"x":"y"}],"ключ":"é"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}',
);
const ODD = data('{"b":"two words\\nand lines","B":null,"a":[],"z":{},"😀":"x","":"\\u2028"}');

describe("files without a template", () => {
  it("have a line for each key, with values as Go prints them", () => {
    expect(vaultMap(KV2)).toBe(
      "data: map[list:[a 1 <nil> map[x:y]] none:<nil> password:s<3& port:5432 ratio:1.10 tls:true ключ:é]\nmetadata: map[created_time:2026-01-01T00:00:00Z custom_metadata:<nil> deletion_time: destroyed:false version:1]\n",
    );
    expect(vaultMap(ODD)).toBe(": \u2028\nB: <no value>\na: []\nb: two words\nand lines\nz: map[]\n😀: x\n");
  });

  it("are JSON on one line when told, escaped as Go does", () => {
    expect(vaultJson(KV2)).toBe(
      '{"data":{"list":["a",1,null,{"x":"y"}],"none":null,"password":"s\\u003c3\\u0026","port":5432,"ratio":1.10,"tls":true,"ключ":"é"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}\n',
    );
    expect(vaultJson(ODD)).toBe('{"":"\\u2028","B":null,"a":[],"b":"two words\\nand lines","z":{},"😀":"x"}\n');
  });
});
