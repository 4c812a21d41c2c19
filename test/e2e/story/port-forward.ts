// A way from the test to a port in the cluster, wherever the cluster is: kubectl port-forward. One ends with its pod, so
// a step that kills a pod opens a new one.
import { spawn } from "node:child_process";
import type { Cluster } from "../cluster-fixture.ts";

export interface Forward extends Disposable {
  /** On 127.0.0.1. */
  readonly port: number;
}

/** Opens a free local port to a port of "pod/x" or "service/x". Rejects with what kubectl says. */
export async function forward(cluster: Cluster, namespace: string, target: string, port: number): Promise<Forward> {
  const [program, ...first] = cluster.kubectlCommand;
  const child = spawn(program, [...first, "port-forward", "-n", namespace, target, `:${port}`]);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let said = "";
  const listen = (text: string) => {
    said += text;
    const local = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    if (local !== undefined) resolve(Number(local));
  };
  child.stdout.setEncoding("utf8").on("data", listen);
  child.stderr.setEncoding("utf8").on("data", listen);
  child.once("error", reject);
  child.once("exit", () => reject(new Error(`kubectl port-forward ${target} ended: ${said.trim()}`)));
  return { port: await promise, [Symbol.dispose]: () => child.kill() };
}
