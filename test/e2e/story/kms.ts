// The key service of the story: the test kit's strict AWS responder as a pod in the cluster. Its keys lie on a volume, so
// that it can be stopped (no pod) and started again with the same keys.
import { request } from "node:http";
import type { JsonObject } from "#common/json.ts";
import { type Cluster, progress, waitFor } from "../cluster-fixture.ts";
import { isReady, type Kubectl, namespaceObject, RESTRICTED_CONTAINER, RESTRICTED_POD } from "./objects.ts";
import { forward } from "./port-forward.ts";

export const KMS_IMAGE = "coffer/aws-responder:story";
export const KMS_NAMESPACE = "coffer-story-kms";
export const KMS_REGION = "eu-west-1";
export const KMS_ENDPOINT = `http://kms.${KMS_NAMESPACE}.svc:4599`;
export const KMS_CREDENTIALS = { accessKeyId: "AKIACOFFERSTORY00000", secretAccessKey: "story-only-0123456789" };
const PORT = 4599;
const LABELS = { app: "kms" };

const volume: JsonObject = {
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name: "keys", namespace: KMS_NAMESPACE },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "16Mi" } } },
};
const service: JsonObject = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "kms", namespace: KMS_NAMESPACE },
  spec: { selector: LABELS, ports: [{ port: PORT }] },
};
const container: JsonObject = {
  name: "kms",
  image: KMS_IMAGE,
  imagePullPolicy: "IfNotPresent",
  args: [
    `-listen=0.0.0.0:${PORT}`,
    `-region=${KMS_REGION}`,
    `-access-key=${KMS_CREDENTIALS.accessKeyId}`,
    `-secret-key=${KMS_CREDENTIALS.secretAccessKey}`,
    "-alias=alias/coffer",
    "-state=/keys/aws.json",
  ],
  readinessProbe: { tcpSocket: { port: PORT }, periodSeconds: 1 },
  securityContext: RESTRICTED_CONTAINER,
  volumeMounts: [{ name: "keys", mountPath: "/keys" }],
};
const deployment: JsonObject = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "kms", namespace: KMS_NAMESPACE },
  spec: {
    replicas: 1,
    strategy: { type: "Recreate" },
    selector: { matchLabels: LABELS },
    template: {
      metadata: { labels: LABELS },
      spec: {
        securityContext: RESTRICTED_POD,
        terminationGracePeriodSeconds: 1,
        automountServiceAccountToken: false,
        containers: [container],
        volumes: [{ name: "keys", persistentVolumeClaim: { claimName: "keys" } }],
      },
    },
  },
};

export class Kms {
  readonly #cluster: Cluster;
  readonly #kubectl: Kubectl;
  constructor(cluster: Cluster, kubectl: Kubectl) {
    this.#cluster = cluster;
    this.#kubectl = kubectl;
  }

  async create(): Promise<void> {
    await this.#kubectl.apply(namespaceObject(KMS_NAMESPACE), volume, service, deployment);
    await this.#ready();
  }

  /** Takes its pod away; its keys stay. */
  async stop(): Promise<void> {
    await this.#kubectl.run("scale", "deployment/kms", "-n", KMS_NAMESPACE, "--replicas=0");
    await this.#kubectl.run("wait", "pod", "-n", KMS_NAMESPACE, "-l", "app=kms", "--for=delete", "--timeout=60s");
    progress("the KMS is stopped");
  }

  async start(): Promise<void> {
    await this.#kubectl.run("scale", "deployment/kms", "-n", KMS_NAMESPACE, "--replicas=1");
    await this.#ready();
  }

  /** Runs `work` with an address of the KMS that the test can reach. */
  async reach<T>(work: (endpoint: string) => Promise<T>): Promise<T> {
    using way = await forward(this.#cluster, KMS_NAMESPACE, "service/kms", PORT);
    return await work(`http://127.0.0.1:${way.port}`);
  }

  /** What it was asked for so far, by operation, and which keys it has. */
  status(): Promise<string> {
    return this.reach((endpoint) => getText(`${endpoint}/_control`));
  }

  #ready(): Promise<boolean> {
    return waitFor("the KMS is ready", async () => isReady(await this.#kubectl.pod(KMS_NAMESPACE, "app=kms")), 60);
  }
}

function getText(url: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const call = request(url, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    response.once("end", () => resolve(text)).once("error", reject);
  });
  call.once("error", reject).end();
  return promise;
}
