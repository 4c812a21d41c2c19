// OpenBao's Go client as a program uses it, against a real server: go/*.go.
import { join } from "node:path";
import { buildGoProgram } from "#test/kit/go-program.ts";
import { testPrintedChecks } from "./printed-checks.ts";

const FOLDER = join(import.meta.dirname, "go");

testPrintedChecks(
  {
    title: "github.com/openbao/openbao/api/v2 2.7.1",
    folder: FOLDER,
    sources: "*.go",
    check: /^\tcheck\("(.+)", func/gm,
    prepare: async (environment) => [await buildGoProgram("go-client", FOLDER, environment)],
  },
  process.env,
);
