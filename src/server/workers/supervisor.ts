// The process that a user starts when a server has several workers: starts them, starts those again that end, passes
// signals on, and ends when they have ended. Opens no store and serves nothing. node:cluster listens here and hands
// connections out in turn, so a port stays open while a worker is replaced, and closes with this process.
import cluster, { type Worker } from "node:cluster";
import { randomUUID } from "node:crypto";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import type { ConfigFile } from "../config/server-config.ts";
import { Backoff } from "./backoff.ts";
import { Channel } from "./channel.ts";
import { passOnAtDeath } from "./handed-over.ts";
import { Hub, type Member } from "./hub.ts";
import type { ToSupervisor } from "./messages.ts";
import { portOf, WORKER_VARIABLE } from "./process-port.ts";
import { passWholeLines } from "./whole-lines.ts";
import { declareProcessUse, declareSupervisorMetrics, type SupervisorMetrics } from "./worker-metrics.ts";

/** Requests get 20 s to end (listener.ts) and audit devices some more; Kubernetes kills after 30 s. */
const STOP_MILLIS_MAX = 28_000;
/** A worker that has hung up has done all it wanted; what keeps it is a connection that it left open. */
const LINGER_MILLIS_MAX = 5_000;

export interface SupervisorOptions {
  readonly count: number;
  readonly files: readonly ConfigFile[];
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the program is to end. */
  readonly signal: AbortSignal;
  /** Runs its argument whenever files are to be read again. */
  readonly onHangup: (run: () => void) => void;
  /** The configuration as it is now, for workers that start later. Throws when it is wrong. */
  reread(): Promise<readonly ConfigFile[]>;
}

/** A place for a worker, with whoever has it at the moment. */
interface Place {
  readonly number: number;
  readonly backoff: Backoff;
  worker: Worker | undefined;
}

/** Runs workers until the program is to end; gives the exit code. */
export function supervise(options: SupervisorOptions): Promise<number> {
  return new Supervisor(options).run();
}

class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #server = randomUUID();
  readonly #hub: Hub;
  readonly #metrics: SupervisorMetrics;
  readonly #places: readonly Place[];
  /** Aborts when no worker is to be started any more. */
  readonly #stopping = new AbortController();
  #files: readonly ConfigFile[];
  #wasReady = false;
  #exitCode = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const metrics = createMetrics();
    const { clock, log } = options;
    this.#files = options.files;
    this.#hub = new Hub({ clock, log, metrics, reread: () => void this.#reread() });
    this.#metrics = declareSupervisorMetrics(metrics);
    declareProcessUse(metrics);
    this.#places = Array.from({ length: options.count }, (_, index) => ({
      ...{ number: index + 1, backoff: new Backoff(), worker: undefined },
    }));
  }

  async run(): Promise<number> {
    const { signal, log, count } = this.#options;
    const stop = () => this.#stop();
    signal.addEventListener("abort", stop, { once: true });
    this.#options.onHangup(() => void this.#reread());
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({ serialization: "advanced", stdio: ["ignore", "pipe", "inherit", "ipc"] });
    log.info("supervising", { workers: count });
    const [first, ...others] = this.#places;
    if (signal.aborted) stop();
    // One at first: it finds out whether the configuration works, and makes what a fresh store needs.
    const isReady = new AbortController();
    const running = first ? [this.#keep(first, () => isReady.abort("ready"))] : [];
    await Promise.race([untilAborted(isReady.signal), ...running]);
    await Promise.all([...running, ...others.map((place) => this.#keep(place, () => {}))]);
    this.#hub.close();
    return this.#exitCode;
  }

  /** All workers read again; those that start later begin with what is there now, unless it is wrong. */
  async #reread(): Promise<void> {
    for (const { worker } of this.#places) worker?.process.kill("SIGHUP");
    try {
      this.#files = await this.#options.reread();
    } catch (error) {
      this.#options.log.error("the configuration cannot be read; what there was stays", { error: messageOf(error) });
    }
  }

  /** Keeps a place taken until the program stops. */
  async #keep(place: Place, onReady: () => void): Promise<void> {
    const { clock, log } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const begun = clock.now();
      const end = await this.#runWorker(place, onReady);
      if (this.#stopping.signal.aborted) {
        // One that was still starting ends by the signal itself.
        if (end.code !== 0 && end.signal !== "SIGTERM") this.#exitCode = 1;
        return;
      }
      if (!this.#wasReady) return this.#giveUp(end.code);
      const waitMillis = place.backoff.next(clock.now() - begun);
      const why = end.signal ? { signal: end.signal } : { code: end.code };
      log.error("a worker ended and is started again", { worker: place.number, pid: end.pid, ...why, waitMillis });
      this.#metrics.restarts.add({});
      await clock.sleep(waitMillis, this.#stopping.signal);
    }
  }

  /** No worker has ever served: what is wrong is for a person to repair, and has been said. */
  #giveUp(code: number): void {
    this.#exitCode = code === 0 ? 1 : code;
    this.#stop();
  }

  async #runWorker(place: Place, onReady: () => void): Promise<WorkerEnd> {
    const { clock, count } = this.#options;
    const files = this.#files;
    const worker = cluster.fork({ [WORKER_VARIABLE]: String(place.number) });
    passOnAtDeath(worker);
    worker.once("disconnect", () => void this.#expectEnd(worker, LINGER_MILLIS_MAX));
    place.worker = worker;
    const member: Member = {
      number: place.number,
      kill: () => void worker.process.kill("SIGKILL"),
      channel: new Channel(portOf(worker), clock, (message: ToSupervisor) => {
        if (message.kind === "ready") this.#noteReady(onReady);
        return this.#hub.receive(member, message);
      }),
    };
    void this.#passOutput(worker);
    member.channel.tell({ kind: "start", number: place.number, count, server: this.#server, files });
    const ended = new AbortController();
    void this.#hub.watch(member, ended.signal);
    const end = await endOf(worker);
    ended.abort("ended");
    place.worker = undefined;
    this.#hub.leave(member);
    this.#metrics.workers.set({}, this.#hub.size);
    return end;
  }

  /** A reader of standard output that is gone is an error of the worker's audit device, not the supervisor's end. */
  async #passOutput({ process: { stdout } }: Worker): Promise<void> {
    if (!stdout) return;
    try {
      await passWholeLines(stdout, toStandardOutput);
    } catch (error) {
      this.#options.log.warn("a worker's output could not be passed on", { error: messageOf(error) });
    }
  }

  #noteReady(onReady: () => void): void {
    this.#wasReady = true;
    this.#metrics.workers.set({}, this.#hub.size);
    onReady();
  }

  /** Asks the workers to end, and ends those that do not. */
  #stop(): void {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort("stopping");
    for (const { worker } of this.#places) void this.#endWorker(worker);
  }

  async #endWorker(worker: Worker | undefined): Promise<void> {
    if (!worker || worker.isDead()) return;
    worker.process.kill("SIGTERM");
    await this.#expectEnd(worker, STOP_MILLIS_MAX);
  }

  async #expectEnd(worker: Worker, limit: Millis): Promise<void> {
    const { clock, log } = this.#options;
    if (worker.isDead() || (await within(clock, limit, endOf(worker))) !== "late") return;
    log.error("a worker did not end in time and is killed", { pid: worker.process.pid });
    worker.process.kill("SIGKILL");
  }
}

interface WorkerEnd {
  readonly pid: number | undefined;
  readonly code: number;
  readonly signal: string | undefined;
}

function endOf(worker: Worker): Promise<WorkerEnd> {
  return new Promise((resolve) => {
    const { pid } = worker.process;
    worker.once("exit", (code: number | null, signal: string | null) =>
      resolve({ pid, code: code ?? 1, signal: signal ?? undefined }),
    );
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function toStandardOutput(bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
