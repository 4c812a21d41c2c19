// The Python client hvac as a program uses it, against a real server: hvac/*.py.
import { join } from "node:path";
import { pythonWith } from "#test/kit/python-environment.ts";
import { testPrintedChecks } from "./printed-checks.ts";

const VERSION = "2.4.0";
const FOLDER = join(import.meta.dirname, "hvac");
const REQUIREMENTS = [`hvac==${VERSION}`, "requests==2.34.2", "urllib3==2.8.0"];

testPrintedChecks(
  {
    title: `hvac ${VERSION}`,
    folder: FOLDER,
    sources: "*_checks.py",
    check: /^@check\("(.+)"\)$/gm,
    async prepare(environment) {
      const python = await pythonWith({ name: "hvac", version: VERSION, requirements: REQUIREMENTS }, environment);
      // -B: no compiled files beside the sources.
      return [python, "-B", join(FOLDER, "main.py")];
    },
  },
  process.env,
);
