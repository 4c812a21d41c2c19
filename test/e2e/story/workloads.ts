// The pods that receive secrets. They run Coffer's own image, because it has Node and is on the node: a Deployment that
// stays and a Job that ends. Both print what they found at their start as one line of JSON.
import type { JsonObject } from "#common/json.ts";
import { RESTRICTED_CONTAINER, RESTRICTED_POD } from "./objects.ts";

export const SECRET_FILE = "/coffer/secrets/db.json";
export const SECRET_VARIABLE = "DB_PASSWORD";

/** What a pod of the story is like. */
export interface Workload {
  readonly namespace: string;
  readonly name: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
}

const REPORT = `
  const file = JSON.parse(require("node:fs").readFileSync("${SECRET_FILE}", "utf8"));
  console.log(JSON.stringify({ file, variable: process.env.${SECRET_VARIABLE} }));
`;
const STAY = `${REPORT}
  setInterval(() => {}, 60_000);
  process.on("SIGTERM", () => process.exit(0));
`;

function podSpec({ image }: Workload, program: string): JsonObject {
  return {
    securityContext: RESTRICTED_POD,
    containers: [
      {
        name: "app",
        image,
        imagePullPolicy: "IfNotPresent",
        command: ["/usr/local/bin/node", "-e", program],
        securityContext: RESTRICTED_CONTAINER,
      },
    ],
  };
}

const injected = (labels: Workload["labels"]) => ({ ...labels, "coffer.dev/inject": "true" });

export function deploymentOf(workload: Workload): JsonObject {
  const { namespace, name, labels } = workload;
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels: injected(labels) }, spec: podSpec(workload, STAY) },
    },
  };
}

export function jobOf(workload: Workload): JsonObject {
  const { namespace, name, labels } = workload;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { labels: injected(labels) },
        spec: { ...podSpec(workload, REPORT), restartPolicy: "Never" },
      },
    },
  };
}

export function podOf(workload: Workload, more: JsonObject = {}): JsonObject {
  const { namespace, name, labels } = workload;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: injected(labels) },
    spec: { ...podSpec(workload, STAY), ...more },
  };
}
