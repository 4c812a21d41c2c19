// The document of the injector, right and wrong.
import { describe, expect, it } from "vitest";
import { fileMode, readAgentConfig } from "./config.ts";

const GOOD = {
  address: "https://main:8200",
  auth: { mount: "kubernetes", role: "r", tokenFile: "/t" },
  sources: [{ name: "db", path: "secret/db" }],
  files: [{ path: "/s/a", source: "db", format: "JSON" }],
  environments: [{ path: "/s/e", format: "Nul", variables: [{ name: "U", source: "db", key: "u" }] }],
  mode: "Sidecar",
  readyFile: "/s/ready",
};
const read = (document: unknown) => readAgentConfig({ COFFER_AGENT_CONFIG: JSON.stringify(document) });

describe("agent configuration", () => {
  it("takes the document and fills in defaults", () => {
    expect(read(GOOD)).toMatchObject({
      refreshIntervalSeconds: 300,
      files: [{ mode: "0440" }],
      sources: [{ version: 0 }],
    });
  });

  it.each<[string, object]>([
    ["auth must be an object", { auth: undefined }],
    ["mode must be one of Init, Sidecar", { mode: "Once" }],
    ['there are two sources named "db"', { sources: [...GOOD.sources, ...GOOD.sources] }],
    ['the file /s/a wants the unknown source "x"', { files: [{ path: "/s/a", source: "x", format: "JSON" }] }],
    ['the path "s/a" must be absolute', { files: [{ path: "s/a", source: "db", format: "JSON" }] }],
    ['the path "/s/../a" must be absolute', { files: [{ path: "/s/../a", source: "db", format: "JSON" }] }],
    ["is Line and needs a key", { files: [{ path: "/s/a", source: "db", format: "Line" }] }],
    [
      'wants the signal "HUP"',
      { files: [{ path: "/s/a", source: "db", format: "JSON", onChange: { signal: "HUP", process: "p" } }] },
    ],
    ["timeoutSeconds must be more than 0", { timeoutSeconds: 0 }],
    ["retries must be a whole number", { retries: 0.5 }],
    ["replaceLeaseAt must be between 0 and 1", { replaceLeaseAt: 1 }],
    ["tls.certificateFile and tls.keyFile go together", { tls: { keyFile: "/k" } }],
    ["is Raw and needs a key", { files: [{ path: "/s/a", source: "db", format: "Raw" }] }],
    ["must be octal", { files: [{ path: "/s/a", source: "db", format: "JSON", mode: "rw" }] }],
    [
      '"A=B" is no name',
      { environments: [{ path: "/e", format: "Nul", variables: [{ name: "A=B", source: "db", key: "u" }] }] },
    ],
    ["refreshIntervalSeconds must be at least 1", { refreshIntervalSeconds: 0 }],
    ["jitterPercent", { jitterPercent: 101 }],
  ])("says: %s", (message, change) => {
    expect(() => read({ ...GOOD, ...change })).toThrow(message);
  });

  it("says when there is none, or no JSON", () => {
    expect(() => readAgentConfig({})).toThrow("COFFER_AGENT_CONFIG is not set");
    expect(() => readAgentConfig({ COFFER_AGENT_CONFIG: "{" })).toThrow("not valid JSON");
  });

  it("reads modes with and without the leading zero, and no set-uid", () => {
    expect(fileMode("0440")).toBe(0o440);
    expect(fileMode("640")).toBe(0o640);
    expect(() => fileMode("4755")).toThrow("octal");
  });
});
