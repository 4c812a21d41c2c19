// `npm run generate` writes every generated file; `-- --check` only says which are out of date, and fails if any is.
import { fileURLToPath } from "node:url";
import { driftedFiles, writeFiles } from "./generators/drift.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const check = process.argv.includes("--check");
const changed = check ? await driftedFiles(root) : await writeFiles(root);
for (const path of changed) console.log(`${check ? "out of date" : "written"}: ${path}`);
if (check && changed.length > 0) {
  console.log("run `npm run generate` and commit the result");
  process.exitCode = 1;
}
