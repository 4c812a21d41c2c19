import { Readable } from "node:stream";
import { expect, it } from "vitest";
import { passWholeLines } from "./whole-lines.ts";

async function passed(chunks: readonly string[]): Promise<readonly string[]> {
  const written: string[] = [];
  await passWholeLines(Readable.from(chunks.map((text) => Buffer.from(text))), async (bytes) => {
    written.push(bytes.toString());
  });
  return written;
}

it("passes on whole lines, however they come", async () => {
  expect(await passed(["a\nb", "c", "d\ne\n", "f\n"])).toEqual(["a\n", "bcd\ne\n", "f\n"]);
});

it("ends a line that its process did not end", async () => {
  expect(await passed(["a\nb", "c"])).toEqual(["a\n", "bc\n"]);
  expect(await passed([])).toEqual([]);
});

it("stops when the destination does", async () => {
  const source = Readable.from([Buffer.from("a\n"), Buffer.from("b\n")]);
  await expect(passWholeLines(source, () => Promise.reject(new Error("gone")))).rejects.toThrow("gone");
  expect(source.destroyed).toBe(true);
});
