// The Kubernetes cluster of the end-to-end tests: the one that KUBECONFIG names, else one that test/cluster/cluster
// brings up on this machine. It is left running for the next test; each test removes what it created.
//
// For a cluster by KUBECONFIG, COFFER_TEST_LOAD_IMAGE is a shell command that puts the image archive "$1" on its nodes,
// for example: COFFER_TEST_LOAD_IMAGE='kind load image-archive "$1"'.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const REPOSITORY = join(import.meta.dirname, "../..");
const CLUSTER = join(REPOSITORY, "test/cluster/cluster");

export interface Cluster {
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** The address at which pods reach this machine, where it is known (not for a cluster by KUBECONFIG). */
  readonly machineAddress: string | undefined;
  /** The program and its first arguments, for a kubectl that goes on running (port-forward). */
  readonly kubectlCommand: readonly [string, ...string[]];
  /** Runs kubectl and returns what it prints; `input` is its standard input ("apply -f -"). Rejects with its stderr. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Puts the image in an OCI archive on the node. */
  loadImage(archive: string): Promise<void>;
  /** Runs helm (compiled at first use) and returns what it prints. */
  helm(args: readonly string[]): Promise<string>;
}

/**
 * The cluster, running; or `undefined`, after printing why, where this machine cannot have one: for
 * `describe.skipIf(cluster === undefined)`. With CI=true that is an error.
 */
export async function startCluster(): Promise<Cluster | undefined> {
  const given = process.env["KUBECONFIG"];
  if (given) return givenCluster(given);
  const missing = whatIsMissing();
  if (missing !== undefined) {
    const message = `no Kubernetes cluster: ${missing}; or set KUBECONFIG to one that may be used for tests`;
    if (process.env["CI"] === "true") throw new Error(message);
    progress(`skipped: ${message}`);
    return undefined;
  }
  progress("cluster up (the first time compiles Kubernetes, about eight minutes)");
  await run(CLUSTER, ["up"], { show: true });
  const kubeconfig = (await run(CLUSTER, ["kubeconfig"])).trim();
  return {
    kubeconfig,
    machineAddress: "10.201.0.1",
    kubectlCommand: [CLUSTER, "kubectl"],
    kubectl: (args, input) => run(CLUSTER, ["kubectl", ...args], { input }),
    loadImage: async (archive) => {
      await run(CLUSTER, ["load", archive], { show: true });
    },
    helm: (args) => helm(kubeconfig, args),
  };
}

function givenCluster(kubeconfig: string): Cluster {
  return {
    kubeconfig,
    machineAddress: undefined,
    kubectlCommand: ["kubectl"],
    kubectl: (args, input) => run("kubectl", args, { input }),
    loadImage: async (archive) => {
      const command = process.env["COFFER_TEST_LOAD_IMAGE"];
      if (!command) throw new Error("KUBECONFIG is set: set COFFER_TEST_LOAD_IMAGE to a command that loads archive $1");
      await run("sh", ["-c", command, "load-image", archive], { show: true });
    },
    helm: (args) => helm(kubeconfig, args),
  };
}

/** What test/cluster/cluster needs and this machine has not, or `undefined`. */
function whatIsMissing(): string | undefined {
  if (process.platform !== "linux") return "test/cluster needs Linux";
  if (process.getuid?.() !== 0) return "test/cluster needs root";
  if (!existsSync("/usr/bin/apt-get")) return "test/cluster needs Debian 12 (it installs containerd with apt-get)";
  if (!existsSync("/sys/fs/cgroup/cpuset/cpuset.cpus")) return "test/cluster needs control groups of version 1";
  if (spawnSync("go", ["version"]).status !== 0) return "test/cluster needs Go, to compile Kubernetes";
  return undefined;
}

async function helm(kubeconfig: string, args: readonly string[]): Promise<string> {
  const path = (await run(join(REPOSITORY, "tools/install-helm.sh"), [])).trim();
  return run(path, args, { env: { KUBECONFIG: kubeconfig } });
}

interface RunOptions {
  input?: string | undefined;
  env?: Readonly<Record<string, string>>;
  /** Also prints the command's output while it runs. */
  show?: boolean;
}

/** Runs a program to its end and returns its standard output; rejects with its last lines when it fails. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const child = spawn(command, args, { cwd: REPOSITORY, env: { ...process.env, ...options.env } });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    if (options.show) process.stdout.write(text);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
    if (options.show) process.stdout.write(text);
  });
  // A program that ends without reading its input breaks the pipe; its exit code tells the rest.
  child.stdin.on("error", () => undefined).end(options.input ?? "");
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("close", resolve);
  });
  if (code === 0) return out;
  const lastLines = `${out}${err}`.trim().split("\n").slice(-20).join("\n");
  throw new Error(`${command} ${args.join(" ")} failed with ${code}:\n${lastLines}`);
}

/** Prints a line with the seconds since the tests began. */
export function progress(line: string): void {
  console.log(`[${(performance.now() / 1000).toFixed(1).padStart(6)} s] ${line}`);
}

/** How often a condition is looked at, and after how long the wait is said to go on. */
const POLL_MILLIS = 500;
const SAY_AFTER_MILLIS = 10_000;

/**
 * Calls `look` until it returns something other than `undefined` or `false`, and returns that. What it throws counts as
 * "not yet" and is told, with `what`, when the seconds are over.
 */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  seconds: number,
): Promise<T> {
  const begin = performance.now();
  let said = begin;
  let last = "not yet";
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) {
        progress(`${what}: after ${((performance.now() - begin) / 1000).toFixed(1)} s`);
        return found;
      }
      last = "not yet";
    } catch (thrown) {
      last = thrown instanceof Error ? thrown.message : String(thrown);
    }
    if (performance.now() - begin > seconds * 1000) throw new Error(`waited ${seconds} s for ${what}: ${last}`);
    if (performance.now() - said > SAY_AFTER_MILLIS) {
      said = performance.now();
      progress(`waiting for ${what}: ${last.split("\n").at(-1)}`);
    }
    await sleep(POLL_MILLIS);
  }
}
