// What each format makes of a secret.
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type JsonObject, parseJson } from "#common/json.ts";
import type { EnvironmentConfig, FileConfig } from "./config.ts";
import { renderEnvironment } from "./environment-file.ts";
import { renderFile } from "./render.ts";
import type { SourceResults } from "./sources.ts";

const DATA = parseJson('{"b":"two words","a":1,"big":9007199254740993,"o":{"y":[1.10,null,true],"x":""}}');
// The tests write plain objects of strings, numbers and null, which are JSON.
const data = (value: unknown): JsonObject => value as JsonObject;

async function content(format: FileConfig["format"], value: unknown, key?: string): Promise<string> {
  const [file] = await renderFile({ path: "/s/f", source: "db", format, key, mode: "0440" }, data(value));
  return String(file?.content ?? "");
}

describe("formats of files", () => {
  it("writes JSON sorted, indented and with every digit", async () => {
    expect(await content("JSON", DATA)).toBe(
      '{\n  "a": 1,\n  "b": "two words",\n  "big": 9007199254740993,\n  "o": {\n    "x": "",\n    "y": [\n      1.10,\n      null,\n      true\n    ]\n  }\n}\n',
    );
  });

  it("writes YAML that old and new readers take for the same", async () => {
    const text = await content("YAML", DATA);
    expect(text).toContain("big: 9007199254740993\n");
    expect(text).toContain("- 1.10\n");
    expect(parse(text, { intAsBigInt: true })).toMatchObject({
      a: 1n,
      b: "two words",
      o: { x: "", y: [1.1, null, true] },
    });
    const tricky = { yes: "yes", n: "012", colon: "a: b", lines: "one\ntwo\n", no: "off" };
    const written = await content("YAML", tricky);
    expect(parse(written)).toEqual(tricky);
    expect(parse(written, { version: "1.1" })).toEqual(tricky);
  });

  it("writes Env lines that a shell reads back, and refuses keys that it would not", async () => {
    expect(await content("Env", { A: "it's $HOME `x`\nb", B: 3, C: null })).toBe(
      "A='it'\\''s $HOME `x`\nb'\nB='3'\nC=''\n",
    );
    await expect(content("Env", { "a-b": "x" })).rejects.toThrow('the key "a-b" of source "db" is no variable name');
  });

  it("writes Properties with Java's escapes", async () => {
    expect(await content("Properties", { "a key": " v =:\\", e: "é\n" })).toBe(
      "a\\ key=\\ v \\=\\:\\\\\ne=\\u00e9\\n\n",
    );
  });

  it("writes one key as it is, without a newline of its own", async () => {
    expect(await content("Raw", { cert: "-----BEGIN\n", n: 5 }, "cert")).toBe("-----BEGIN\n");
    expect(await content("Raw", { n: { x: 5 } }, "n")).toBe('{"x":5}');
    await expect(content("Raw", { a: "hush", b: "" }, "c")).rejects.toThrow(
      'the source "db" has no key "c"; it has "a", "b"',
    );
    await expect(content("Raw", {}, "toString")).rejects.toThrow("it has none");
  });

  it("writes a file per key, and refuses keys that would leave the folder", async () => {
    const file: FileConfig = { path: "/s/d/", source: "db", format: "PerKey", mode: "0440" };
    expect(await renderFile(file, data({ user: "u", n: 1 }))).toEqual([
      { path: "/s/d/n", content: "1" },
      { path: "/s/d/user", content: "u" },
    ]);
    for (const key of ["../x", "..", ".", "a/b", "", "x".repeat(256)]) {
      await expect(renderFile(file, data({ [key]: "v" }))).rejects.toThrow("is no name of a file");
    }
    expect((await renderFile(file, data({ ["x".repeat(255)]: "v" }))).length).toBe(1);
  });
});

describe("files of variables", () => {
  const results: SourceResults = new Map([
    ["db", { kind: "data", data: { u: "a b", q: "it's", z: "a\0b", n: 7, m: "l1\nl2" }, readAgainAt: undefined }],
    ["absent", { kind: "missing", reason: "r" }],
  ]);
  const render = (format: EnvironmentConfig["format"], ...variables: [string, string, string][]) =>
    renderEnvironment(
      { path: "/s/env", format, variables: variables.map(([name, source, key]) => ({ name, source, key })) },
      results,
    );

  it("writes literals for kubelet and leaves out what is optional and absent", () => {
    expect(render("FileKeyRef", ["U", "db", "u"], ["N", "db", "n"], ["X", "absent", "x"], ["M", "db", "m"])).toBe(
      "U='a b'\nN='7'\nM='l1\nl2'\n",
    );
  });

  it("refuses a single quote and a NUL, naming variable and source, not the value", () => {
    const quote =
      'the value for Q from source "db" has a single quote, which fileKeyRef cannot hold; deliver it as a file';
    expect(() => render("FileKeyRef", ["Q", "db", "q"])).toThrow(quote);
    expect(() => render("FileKeyRef", ["Z", "db", "z"])).toThrow("has a NUL byte");
    expect(() => render("Nul", ["Z", "db", "z"])).toThrow("has a NUL byte");
    expect(() => render("Nul", ["K", "db", "k"])).toThrow('has no key "k"');
  });

  it("writes plain lines for kubelets that take quotes as a part of the value, and refuses what such lines change", () => {
    expect(render("FileKeyRefPlain", ["U", "db", "u"], ["Q", "db", "q"])).toBe("U=a b\nQ=it's\n");
    for (const value of ["l1\nl2", "\r", "a\0b", " a", "a\t", "a\\", "a".repeat(64 * 1024)]) {
      const one: SourceResults = new Map([["db", { kind: "data", data: { k: value }, readAgainAt: undefined }]]);
      const environment = { path: "/s/env", variables: [{ name: "K", source: "db", key: "k" }] };
      expect(() => renderEnvironment({ ...environment, format: "FileKeyRefPlain" }, one)).toThrow(
        'the value for K from source "db" has',
      );
    }
  });

  it("writes NUL records for the helper", () => {
    expect(render("Nul", ["Q", "db", "q"], ["M", "db", "m"])).toBe("Q=it's\0M=l1\nl2\0");
  });
});
