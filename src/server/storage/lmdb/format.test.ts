import { describe, expect, it } from "vitest";
import { assertFormat, encodeEntry, encodeVersion, formatRecord, keyEncoder } from "./format.ts";

describe("the bytes of an LMDB store", () => {
  it("are those of the worked example: value 'hi' of commit 258 at key 'é/a'", () => {
    expect(encodeEntry(258n, Buffer.from("hi")).toString("hex")).toBe("00000000000001026869");
    expect(encodeVersion(258n).toString("hex")).toBe("0000000000000102");
    expect(formatRecord().toString()).toBe('{"format":"coffer","version":1}');
    const target = Buffer.alloc(8);
    expect(keyEncoder.writeKey("é/a", target, 2)).toBe(6);
    expect(target.toString("hex")).toBe("0000c3a92f610000");
    expect(keyEncoder.readKey(target, 2, 6)).toBe("é/a");
  });

  it("are accepted in this format and refused in a newer one or another program's", () => {
    expect(() => assertFormat(formatRecord(), "/d")).not.toThrow();
    for (const record of ['{"format":"coffer","version":2}', '{"format":"x","version":1}', "{}", ""]) {
      const refused = expect.objectContaining({ code: "invalid_request" });
      expect(() => assertFormat(Buffer.from(record), "/d")).toThrow(refused);
    }
  });
});
