// The stanza that schedules snapshots: its defaults, and what is refused with which words.
import { describe, expect, it } from "vitest";
import { parseServerConfig } from "./server-config.ts";

const parse = (stanza: string) =>
  parseServerConfig([
    { name: "server.hcl", text: `storage "memory" {}\nlistener "tcp" { tls_disable = true }\n${stanza}` },
  ]).snapshots;

describe("the snapshots stanza", () => {
  it("is absent, or has a place and defaults", () => {
    expect(parse("")).toBeUndefined();
    expect(parse('snapshots { directory = "/backup" }')).toEqual({
      ...{ intervalMillis: 86_400_000, retain: 7, verifyMillis: 86_400_000, directory: "/backup", prefix: "" },
      ...{ bucket: undefined, region: undefined, endpoint: undefined },
    });
    expect(parse('snapshots { s3_bucket = "b" interval = "60s" s3_endpoint = "https://minio:9000" }')).toMatchObject({
      ...{ bucket: "b", intervalMillis: 60_000, endpoint: "https://minio:9000" },
    });
  });

  it.each([
    ["snapshots {}", "either a directory or an s3_bucket"],
    ['snapshots { directory = "/a" s3_bucket = "b" }', "either a directory or an s3_bucket"],
    ['snapshots { directory = "/a" interval = "59s" }', "at least 60s"],
    ['snapshots { directory = "/a" retain = 0 }', "retain"],
    ['snapshots { s3_bucket = "b" s3_endpoint = "minio" }', "s3_endpoint must be a URL"],
    ['snapshots { directory = "/a" }\nsnapshots { directory = "/b" }', "two snapshots stanzas"],
    ['snapshots { directory = "/a" every = "1h" }', "every"],
  ])("refuses %s", (stanza, words) => {
    expect(() => parse(stanza)).toThrow(words);
  });
});
