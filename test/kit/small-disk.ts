// A small disk for tests of what a full or read-only one does: a tmpfs in a mount namespace of its own, which goes when
// the process that holds it goes. Seen from outside through /proc, so no other process needs to be in the namespace.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface SmallDisk {
  /** A directory of it. */
  readonly path: string;
  /** Leaves about so many bytes of room, or as much as there was again. */
  leave(bytes: number): Promise<void>;
  free(): Promise<void>;
  setReadOnly(): Promise<void>;
  remove(): Promise<void>;
}

/** Undefined where namespaces are not allowed. */
export async function startSmallDisk(bytes: number): Promise<SmallDisk | undefined> {
  // It listens for commands, and ends with this process, whose end closes its standard input.
  const script = `mount -t tmpfs -o size=${bytes},mode=700 tmpfs /mnt && echo ready; while read -r line; do eval "$line"; echo done; done`;
  const flags = process.getuid?.() === 0 ? ["--mount"] : ["--mount", "--map-root-user"];
  const holder = spawn("unshare", [...flags, "sh", "-c", script], { stdio: ["pipe", "pipe", "ignore"] });
  holder.on("error", () => {});
  const first = await Promise.race([once(holder.stdout, "data"), once(holder.stdout, "end")]);
  if (!String(first[0]).includes("ready")) return undefined;
  return new Tmpfs(holder, `/proc/${holder.pid}/root/mnt`);
}

class Tmpfs implements SmallDisk {
  readonly path: string;
  readonly #holder: ChildProcess;

  constructor(holder: ChildProcess, path: string) {
    this.#holder = holder;
    this.path = path;
  }

  async leave(bytes: number): Promise<void> {
    await this.free();
    const { bavail, bsize } = await statfs(this.path);
    await writeFile(join(this.path, "ballast"), Buffer.alloc(Math.max(0, bavail * bsize - bytes)));
  }

  async free(): Promise<void> {
    await rm(join(this.path, "ballast"), { force: true });
  }

  async setReadOnly(): Promise<void> {
    await this.#run("mount -o remount,ro /mnt");
  }

  async remove(): Promise<void> {
    if (this.#holder.exitCode !== null) return;
    const ended = once(this.#holder, "exit");
    this.#holder.stdin?.end();
    await ended;
  }

  async #run(command: string): Promise<void> {
    const { stdin, stdout } = this.#holder;
    if (stdin === null || stdout === null) throw new Error("the disk is gone");
    const done = once(stdout, "data");
    stdin.write(`${command}\n`);
    await done;
  }
}
