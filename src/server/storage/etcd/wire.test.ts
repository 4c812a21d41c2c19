// The bytes of Protocol Buffers, against examples of its documentation and against itself.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fields, Message } from "./wire.ts";

const bytesOf = (message: Message) => Buffer.concat(message.parts);

describe("a message", () => {
  it("has the bytes of the documentation's examples", () => {
    expect(bytesOf(new Message().number(1, 150)).toString("hex")).toBe("089601");
    expect(bytesOf(new Message().bytes(2, Buffer.from("testing"))).toString("hex")).toBe("120774657374696e67");
    expect(bytesOf(new Message().message(3, new Message().number(1, 150))).toString("hex")).toBe("1a03089601");
  });

  it("leaves out zeros, but not of one choice of several", () => {
    expect(new Message().number(1, 0).length).toBe(0);
    expect(bytesOf(new Message().oneof(6, 0n)).toString("hex")).toBe("3000");
  });

  it("is read back as it was written", () => {
    const field = fc.tuple(
      fc.integer({ min: 1, max: 500 }),
      fc.oneof(fc.maxSafeNat(), fc.uint8Array({ maxLength: 300 })),
    );
    fc.assert(
      fc.property(fc.array(field), (written) => {
        const message = new Message();
        for (const [number, value] of written) {
          if (typeof value === "number") message.oneof(number, value);
          else message.bytes(number, value);
        }
        const bytes = bytesOf(message);
        expect(bytes.length).toBe(message.length);
        const fields = new Fields(bytes);
        for (const [number, value] of written) {
          expect(fields.next()).toBe(number);
          if (typeof value === "number") expect(fields.number()).toBe(value);
          else expect([...fields.bytes()]).toEqual([...value]);
        }
        expect(fields.next()).toBe(0);
      }),
    );
  });
});

describe("fields", () => {
  it("skip all types that there are, identifiers of 64 bits among them", () => {
    const fields = new Fields(
      Buffer.from("08ffffffffffffffffff01" + "110102030405060708" + "1a0141" + "2501020304" + "3007", "hex"),
    );
    for (const number of [1, 2, 3, 4]) {
      expect(fields.next()).toBe(number);
      fields.skip();
    }
    expect(fields.next()).toBe(6);
    expect(fields.number()).toBe(7);
  });

  it.each(["08", "0aff", "1203", "11010203", "0b", "08ffffffffffffffffff01"])("refuse %s", (hex) => {
    const read = () => {
      const fields = new Fields(Buffer.from(hex, "hex"));
      if (fields.next() === 1 && hex.startsWith("08")) fields.number();
      else fields.skip();
    };
    expect(read).toThrow(expect.objectContaining({ code: "unavailable" }));
  });
});
