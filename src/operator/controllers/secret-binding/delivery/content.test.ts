import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type JsonObject, parseJson } from "#common/json.ts";
import { binding } from "#test/operator/fixtures.ts";
import { contentOf, SECRET_BYTES_MAX } from "./content.ts";
import { macOf } from "./content-mac.ts";
import { wantedContent } from "./live-secret.ts";

function made(
  values: Readonly<Record<string, JsonObject>>,
  data: readonly JsonObject[] = [],
  names?: readonly string[],
) {
  const target = binding({ spec: { secret: { data } } }).spec.secret ?? { data: [] };
  const content = contentOf(target, new Map(Object.entries(values)), names ?? Object.keys(values), () => 0);
  return Object.fromEntries([...content].map(([key, value]) => [key, value.toString("latin1")]));
}
const db = { user: "u", password: "p" };

describe("content of a Kubernetes Secret", () => {
  it("is every key of every source when none is named", () => {
    const big = parseJson('{"n":9007199254740993,"o":{"x":[1.10]},"nothing":null}') as JsonObject;
    expect(made({ db, big })).toEqual({ ...db, n: "9007199254740993", o: '{"x":[1.10]}', nothing: "" });
  });

  it("refuses what cannot be all keys, naming them", () => {
    expect(() => made({ db, other: { user: "x" } })).toThrow('the sources "db" and "other" both have the key "user"');
    for (const key of ["a b", "", "..", "..data", ".", "x".repeat(254)])
      expect(() => made({ db: { [key]: "v" } })).toThrow("is no key of a Kubernetes Secret");
    expect(Object.keys(made({ db: { ["x".repeat(253)]: "v" } }))).toHaveLength(1);
  });

  it("takes keys by name, by another name, by template and decoded", () => {
    const entries = [
      { key: "user" },
      { key: "PASS", from: "password" },
      { key: "url", template: "db://{{ .user }}:{{ .password }}" },
      { key: "bin", from: "b64", decode: "Base64" },
    ];
    expect(made({ db: { ...db, b64: "AP8=\n" } }, entries)).toEqual({
      ...{ user: "u", PASS: "p", url: "db://u:p", bin: "\u0000\u00ff" },
    });
  });

  it("gives a template all sources by their names, and no path", () => {
    const both = { db, web: { host: "h" } };
    expect(made(both, [{ key: "url", template: "{{ .db.user }}@{{ .web.host }}" }])).toEqual({ url: "u@h" });
    expect(made(both, [{ key: "url", source: "web", template: "{{ .host }}" }])).toEqual({ url: "h" });
    const reading = { key: "url", template: '{{ with secret "secret/other/db" }}{{ .Data.x }}{{ end }}' };
    expect(() => made(both, [reading])).toThrow("reads a path");
  });

  it("leaves out keys of an optional source that is absent, and says which key is missing of one that is there", () => {
    const entries = [
      { key: "user", source: "db" },
      { key: "host", source: "web" },
    ];
    expect(made({ db }, entries, ["db", "web"])).toEqual({ user: "u" });
    expect(() => made({ db }, [{ key: "no" }])).toThrow('the source "db" has no key "no"; it has "password", "user"');
    expect(() => made({ db }, [{ key: "t", template: "{{ .no }}" }])).toThrow();
  });

  it("names no value in what it refuses", () => {
    const hush = { db: { k: "hush-hush" } };
    expect(() => made(hush, [{ key: "k", decode: "Base64" }])).toThrow("the value for k is not base64");
    try {
      made(hush, [{ key: "k", decode: "Base64" }]);
    } catch (error) {
      expect(String(error)).not.toContain("hush-hush");
    }
  });

  it("holds a megabyte and not a byte more", () => {
    expect(made({ db: { k: "x".repeat(SECRET_BYTES_MAX) } })["k"]).toHaveLength(SECRET_BYTES_MAX);
    expect(() => made({ db: { k: "x".repeat(SECRET_BYTES_MAX), l: "x" } })).toThrow("1048577 bytes together");
  });
});

describe("the MAC of a content", () => {
  const key = createSecretKey(Buffer.alloc(32, 1));
  const target = binding({ spec: { secret: {} } }).spec.secret;
  if (target === undefined) throw new Error("the fixture has a target");
  const content = (data: Readonly<Record<string, string>>, labels = {}) =>
    wantedContent(
      binding(),
      { ...target, labels },
      new Map(Object.entries(data).map(([name, value]) => [name, Buffer.from(value)])),
    );
  const mac = (data: Readonly<Record<string, string>>, owner = "team/db", labels = {}) =>
    macOf(key, owner, content(data, labels));

  it("tells contents, places and keys apart, and the order of keys not", () => {
    expect(mac({ a: "1", b: "2" })).toBe(mac({ b: "2", a: "1" }));
    const all = [mac({ a: "1" }), mac({ a: "2" }), mac({ a: "1", b: "" }), mac({ ab: "1" }), mac({ a: "1" }, "team/b")];
    expect(new Set([...all, mac({ a: "1" }, "team/db", { x: "y" })]).size).toBe(6);
    expect(macOf(createSecretKey(Buffer.alloc(32, 2)), "team/db", content({ a: "1" }))).not.toBe(mac({ a: "1" }));
  });

  it("is as it was: status holds it across versions", () => {
    expect(mac({ a: "1" })).toMatchInlineSnapshot(`"v1:5wss2aG2L4gGLVr-ctI7mFTG7wG8c_4E_JOKQND_T_4"`);
  });
});
