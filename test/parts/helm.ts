// Finds the helm that tests render the chart with, and reads what it renders.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";

const CHART = fileURLToPath(new URL("../../charts/coffer", import.meta.url));
/** A helm without a cluster assumes an ancient Kubernetes. */
const KUBE_VERSION = "1.34.0";

/** The path of helm: of the tests' own installation (tools/install-helm.sh), or the machine's. */
export function findHelm(env: NodeJS.ProcessEnv): string | undefined {
  const cache = env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const own = join(cache, "coffer-test", "bin", "helm");
  if (existsSync(own)) return own;
  return spawnSync("helm", ["version", "--short"]).status === 0 ? "helm" : undefined;
}

/** Renders the chart into `namespace`; gives the objects, or helm's complaint. */
export function renderChart(helm: string, namespace: string, values: JsonObject = {}): readonly JsonObject[] | string {
  const args = ["template", "coffer", CHART, "--namespace", namespace, "--kube-version", KUBE_VERSION, "--values", "-"];
  const { status, stdout, stderr } = spawnSync(helm, args, { input: JSON.stringify(values), encoding: "utf8" });
  if (status !== 0) return stderr;
  return parseAllDocuments(stdout).flatMap((document) => {
    const value = parseJson(JSON.stringify(document.toJS()));
    return isJsonObject(value) ? [value] : [];
  });
}
