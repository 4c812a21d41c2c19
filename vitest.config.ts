// The rings of tests as vitest projects: `unit` needs nothing but Node; `parts`, `wire`
// and `clients` run real servers, databases, emulators and clients on this machine; `e2e` needs a Kubernetes cluster.
import { defineConfig } from "vitest/config";

const project = (name: string, include: string[], seconds: number, parallel = true) => ({
  test: {
    // No module holds state, so files may share them: the unit tests take half of the processor time (77 to 42 s).
    isolate: name !== "unit",
    ...{ name, include, testTimeout: seconds * 1000, hookTimeout: seconds * 1000, fileParallelism: parallel },
    // Tests that run for minutes tell what they do, line by line.
    disableConsoleIntercept: !parallel,
  },
});

export default defineConfig({
  test: {
    projects: [
      project(
        "unit",
        ["src/**/*.test.ts", "tools/**/*.test.ts", "test/docs/**/*.test.ts", "test/kit/**/*.test.ts"],
        20,
      ),
      project("conformance", ["test/conformance/**/*.test.ts"], 120),
      project("parts", ["test/parts/**/*.test.ts"], 180),
      project("wire", ["test/wire/**/*.test.ts"], 120),
      project("clients", ["test/clients/**/*.test.ts"], 240),
      project("crash", ["test/crash/**/*.test.ts", "test/linearizability/**/*.test.ts"], 300),
      project("e2e", ["test/e2e/**/*.test.ts"], 1500, false),
    ],
  },
});
