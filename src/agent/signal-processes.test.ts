// Real processes under names that nothing else on the machine has.
import { spawn } from "node:child_process";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { signalProcesses } from "./signal-processes.ts";

/** A process of the given name that does nothing, and the signal that ends it. */
async function sleeper(name: string) {
  const folder = await mkdtemp(join(tmpdir(), "coffer-signal-"));
  await copyFile("/bin/sleep", join(folder, name));
  const child = spawn(join(folder, name), ["60"], { stdio: "ignore" });
  const ended = new Promise<string | null>((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  await new Promise((resolve) => child.once("spawn", resolve));
  return {
    ...{ pid: child.pid, ended },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

const unique = (prefix: string) => `${prefix}${process.pid.toString(36)}`;

describe("signals by name", () => {
  it("reach the process of that name and no other", async () => {
    const name = unique("cfa");
    await using wanted = await sleeper(name);
    await using other = await sleeper(unique("cfb"));
    expect(await signalProcesses("SIGHUP", name)).toEqual({ signalled: [wanted.pid], problems: [] });
    expect(await wanted.ended).toBe("SIGHUP");
    expect(await signalProcesses("SIGHUP", unique("cfb"))).toMatchObject({ signalled: [other.pid] });
  });

  it("tell names apart that the kernel cuts to the same fifteen bytes", async () => {
    const long = unique("coffer-test-of-a-long-name-");
    await using wanted = await sleeper(`${long}a`);
    await using _other = await sleeper(`${long}b`);
    expect(await signalProcesses("SIGUSR1", `${long}a`)).toEqual({ signalled: [wanted.pid], problems: [] });
  });

  it("find nothing where there is nothing", async () => {
    expect(await signalProcesses("SIGHUP", unique("absent"))).toEqual({ signalled: [], problems: [] });
    expect(await signalProcesses("SIGHUP", "x", "/absent")).toEqual({ signalled: [], problems: [] });
  });
});
