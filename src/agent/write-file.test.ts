// Files appear whole, with their mode, and only when something changed.
import { chmod, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeFileAtomically } from "./write-file.ts";

it("writes by rename, once, and again when content or mode differ", async () => {
  const folder = await mkdtemp(join(tmpdir(), "coffer-write-"));
  const path = join(folder, "deep/er/file");
  expect(await writeFileAtomically(path, "one", 0o440)).toBe(true);
  const first = await stat(path);
  expect(first.mode & 0o777).toBe(0o440);
  expect(await writeFileAtomically(path, "one", 0o440)).toBe(false);
  expect((await stat(path)).ino).toBe(first.ino);
  expect(await writeFileAtomically(path, "two", 0o440)).toBe(true);
  expect(await readFile(path, "utf8")).toBe("two");
  await chmod(path, 0o444);
  expect(await writeFileAtomically(path, "two", 0o640)).toBe(true);
  expect((await stat(path)).mode & 0o777).toBe(0o640);
  expect(await readdir(join(folder, "deep/er"))).toEqual(["file"]);
  await rm(folder, { recursive: true });
});

it("leaves nothing behind when the rename fails", async () => {
  const folder = await mkdtemp(join(tmpdir(), "coffer-write-"));
  await writeFileAtomically(join(folder, "taken/inner"), "x", 0o440);
  await expect(writeFileAtomically(join(folder, "taken"), "x", 0o440)).rejects.toThrow();
  expect(await readdir(folder)).toEqual(["taken"]);
  await rm(folder, { recursive: true });
});
