// Many agents against one server: how many requests a second it gets while they start, while they are there, and after
// it was restarted, by its own audit log. The agents are in one process, which is how the machine has room for them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import type { World } from "./world.ts";

export interface FleetOptions {
  readonly agents: number;
  readonly refreshSeconds: number;
  readonly events: boolean;
  /** Of each of the two phases, before and after the restart. */
  readonly seconds: number;
}

/** Requests in each second. */
export interface Rate {
  readonly total: number;
  readonly mean: number;
  readonly peak: number;
  /** In tens of seconds, from the beginning of the phase on: the highest second of each. */
  readonly peaks: readonly number[];
  readonly logins: number;
}

export async function measureFleet(program: string, world: World, options: FleetOptions) {
  const change = JSON.stringify({ refreshIntervalSeconds: options.refreshSeconds, events: options.events });
  const words = ["--lite-mode", program, world.address, world.folder, String(options.agents), change];
  const child = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "ignore"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (): Promise<JsonObject> => {
    child.stdin.write("\n");
    const { value } = await lines.next();
    const report = parseJson(String(value));
    return isJsonObject(report) ? report : {};
  };
  const start = systemClock.now();
  await lines.next(); // "ready"
  const ready = systemClock.now();
  await systemClock.sleep(options.seconds * 1000);
  const beforeRestart = systemClock.now();
  const steady = await ask();
  const served = await world.restart();
  await systemClock.sleep(options.seconds * 1000);
  const end = systemClock.now();
  const after = await ask();
  const times = requestTimes(world.auditFile);
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
  return {
    ...options,
    startMillis: ready - start,
    atStart: rateOf(times, start, ready),
    steady: rateOf(times, ready, beforeRestart),
    afterRestart: rateOf(times, served, end),
    agentsAtEnd: {
      residentMiB: after["rssMiB"],
      live: steady["live"],
      extraLogins: Number(after["logins"]) - options.agents,
    },
  };
}

interface Seen {
  readonly at: number;
  readonly isLogin: boolean;
}

function requestTimes(auditFile: string): readonly Seen[] {
  return readFileSync(auditFile, "utf8")
    .split("\n")
    .flatMap((line) => {
      const at = /"time":"([^"]+)"/.exec(line)?.[1];
      if (at === undefined || !line.includes('"type":"request"')) return [];
      return [{ at: Date.parse(at), isLogin: line.includes('"path":"auth/kubernetes/login"') }];
    });
}

function rateOf(all: readonly Seen[], from: number, to: number): Rate {
  const seen = all.filter(({ at }) => at >= from && at < to);
  const seconds = new Array<number>(Math.max(1, Math.ceil((to - from) / 1000))).fill(0);
  for (const { at } of seen) {
    const second = Math.floor((at - from) / 1000);
    seconds[second] = (seconds[second] ?? 0) + 1;
  }
  const peaks = Array.from({ length: Math.ceil(seconds.length / 10) }, (_, i) =>
    Math.max(...seconds.slice(i * 10, i * 10 + 10)),
  );
  return {
    total: seen.length,
    mean: Math.round((seen.length / seconds.length) * 10) / 10,
    peak: Math.max(...seconds),
    peaks,
    logins: seen.filter(({ isLogin }) => isLogin).length,
  };
}
