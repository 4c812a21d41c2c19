// A worker's side of what the workers of a server have in common: does for the parts of this process what siblings.ts
// promises them, by asking the supervisor, and does here what others did there. Opening and sealing are done in the
// order in which the supervisor says them.
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log, LogLevel } from "#common/log.ts";
import type { Metrics } from "#common/metrics.ts";
import type { MetricsSnapshot } from "#common/metrics-snapshot.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Turn } from "../core/background.ts";
import type { FlightNote, InFlight } from "../core/in-flight.ts";
import type { Node } from "../core/node.ts";
import type { SealHealth } from "../core/seal-watch.ts";
import type { SharedSealWatch, SharedUnseal, Siblings, WholeServer } from "../core/siblings.ts";
import type { ServerEvent } from "../events/event.ts";
import type { EventRelay } from "../events/event-relay.ts";
import type { RateCounter } from "../quotas/rate-limiter.ts";
import { Channel, type Port } from "./channel.ts";
import { type Answer, done, type ToSupervisor, type ToWorker, type Wanted, type WorkerStart } from "./messages.ts";

/** The supervisor does nothing that takes time, but may wait for a worker that does not follow. */
const ASK_MILLIS_MAX = 15_000;

/** The parts of this process that others ask for and act upon. */
export interface WorkerParts {
  readonly node: Node;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly inFlight: InFlight;
  /** As this process found them. */
  sealHealth?(): readonly SealHealth[];
}

export interface ClosablePort extends Port {
  close(): void;
}

export class Link implements Siblings {
  readonly #channel: Channel<ToSupervisor, ToWorker, Answer>;
  readonly #leading = new AbortController();
  readonly #watching = new AbortController();
  readonly #started: Promise<WorkerStart>;
  #onStart: (start: WorkerStart) => void = () => {};
  #parts: WorkerParts | undefined;
  #wanted: Wanted = { events: false, log: false };
  #deliver: (event: ServerEvent | "lost") => void = () => {};
  /** Openings and sealings follow one another. */
  #last: Promise<void> = Promise.resolve();
  #counting = 0;
  #place: Omit<WorkerStart, "files"> = { number: 1, count: 1, server: "" };

  readonly unseal: SharedUnseal;
  readonly seals: SharedSealWatch;
  readonly whole: WholeServer;
  readonly events: EventRelay;
  readonly rates: RateCounter;

  readonly #disconnect: () => void;

  constructor(port: ClosablePort, clock: Clock) {
    this.#disconnect = () => port.close();
    this.#started = new Promise((resolve) => {
      this.#onStart = resolve;
    });
    this.#channel = new Channel(port, clock, (message) => this.#receive(message));
    this.unseal = this.#sharedUnseal();
    this.seals = { mine: this.#watching.signal, health: () => this.#sealHealth() };
    this.whole = this.#wholeServer();
    this.events = this.#eventRelay();
    this.rates = { take: (client, allowance) => this.#take({ kind: "take", client, allowance }) };
  }

  /** What to be; sent by the supervisor as soon as this process is there. */
  async started(): Promise<WorkerStart> {
    const start = await this.#started;
    this.#place = start;
    return start;
  }

  /** Which worker this is of how many. */
  get place(): Pick<WorkerStart, "number" | "count"> {
    return this.#place;
  }

  get server(): string {
    return this.#place.server;
  }

  get turn(): Turn {
    return { index: this.#place.number - 1, count: this.#place.count };
  }

  /** From now on this worker does as the others do. Resolves when it is as they are, unsealed if they are. */
  async attach(parts: WorkerParts): Promise<void> {
    this.#parts = parts;
    parts.log.taps.relayBy({
      isWanted: () => this.#wanted.log,
      send: (level, render) => this.#sendLine({ level, json: render("json"), text: render("text") }),
      want: (wanted) => void this.#wantLines(wanted, parts.log),
    });
    const answer = await this.#ask({ kind: "attach" });
    if (answer.kind !== "attached") throw unexpected(answer);
    this.#wanted = answer.wanted;
    if (answer.level) parts.log.threshold.change(answer.level);
    parts.node.adoptTroubles(answer.troubles);
    if (answer.lead) this.#leading.abort("appointed");
    if (answer.watch) this.#watching.abort("appointed");
    // A server beside this one may have replaced the key: then the seals know the new one.
    if (answer.rootKey) await this.#open(answer.rootKey).catch(() => this.#leading.abort("the key is over"));
  }

  /** The channel keeps the process alive until it is closed. */
  close(): void {
    this.#disconnect();
  }

  /** It listens. */
  ready(): void {
    this.#channel.tell({ kind: "ready" });
  }

  /** Aborts when this worker is to ask the seals: one does it for all. */
  get leading(): AbortSignal {
    return this.#leading.signal;
  }

  async #receive(message: ToWorker): Promise<Answer> {
    switch (message.kind) {
      case "start":
        this.#onStart(message);
        return done;
      case "open":
        await this.#open(message.rootKey);
        return done;
      case "seal":
        await this.#inOrder(async () => this.#parts?.node.sealHere());
        return done;
      case "metrics":
        return { kind: "metrics", snapshot: this.#parts?.metrics.snapshot() ?? [], seconds: 0 };
      case "in-flight":
        return { kind: "in-flight", notes: this.#parts?.inFlight.list() ?? [] };
      case "seal-health":
        return { kind: "seal-health", health: this.#parts?.sealHealth?.() };
      case "ping":
        return done;
      default:
        this.#note(message);
        return done;
    }
  }

  #note(
    message: Exclude<ToWorker, { kind: "start" | "open" | "seal" | "metrics" | "in-flight" | "seal-health" | "ping" }>,
  ): void {
    const log = this.#parts?.log;
    switch (message.kind) {
      case "lead":
        this.#leading.abort("appointed");
        return;
      case "watch":
        this.#watching.abort("appointed");
        return;
      case "troubles":
        this.#parts?.node.adoptTroubles(message.troubles);
        return;
      case "wanted":
        this.#wanted = message.wanted;
        return;
      case "event":
        this.#deliver(message.event);
        return;
      case "line":
        log?.taps.receive(message.line.level, (format) => message.line[format]);
        return;
      case "lost":
        this.#deliver("lost");
        return;
      case "level":
        log?.threshold.change(message.level);
    }
  }

  /** With a key that another worker found. One that does not fit leaves this worker to its seals. */
  #open(rootKey: Uint8Array): Promise<void> {
    return this.#inOrder(async () => {
      using key = new SecretBytes(rootKey);
      try {
        await this.#parts?.node.adopt(key);
      } catch (error) {
        this.#parts?.log.error("the other workers' root key does not open the store here", { error: messageOf(error) });
        throw error;
      }
    });
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const run = this.#last.then(work);
    this.#last = run.catch(() => {});
    return run;
  }

  #sharedUnseal(): SharedUnseal {
    return {
      progress: {
        add: (share) => this.#addShare(share),
        status: async () => {
          const answer = await this.#ask({ kind: "progress" });
          if (answer.kind !== "progress") throw unexpected(answer);
          return answer.progress;
        },
        reset: async () => void (await this.#ask({ kind: "reset-shares" })),
        close: () => {},
      },
      opened: async (rootKey) => void (await this.#ask({ kind: "opened", rootKey: rootKey.expose() })),
      sealed: async () => void (await this.#ask({ kind: "sealed" })),
      dataKeys: {
        keep: async (name, key) => void (await this.#ask({ kind: "data-key", name, key: key.expose() })),
        find: async (name) => {
          const answer = await this.#ask({ kind: "find-data-key", name });
          if (answer.kind !== "found-data-key") throw unexpected(answer);
          return answer.key && new SecretBytes(answer.key);
        },
      },
      troubled: (troubles) => this.#channel.tell({ kind: "troubles", troubles }),
    };
  }

  async #addShare(share: SecretBytes): Promise<readonly SecretBytes[]> {
    using own = share;
    const answer = await this.#ask({ kind: "add-share", share: own.expose() });
    if (answer.kind !== "entered") throw unexpected(answer);
    return answer.shares.map((bytes) => new SecretBytes(bytes));
  }

  #wholeServer(): WholeServer {
    return {
      metrics: () => this.#allMetrics(),
      countingSeconds: () => this.#counting,
      inFlight: () => this.#allInFlight(),
      setLogLevel: async (level: LogLevel | undefined) => void (await this.#ask({ kind: "level", level })),
      reread: async () => void (await this.#ask({ kind: "reread" })),
    };
  }

  async #allMetrics(): Promise<MetricsSnapshot> {
    const answer = await this.#ask({ kind: "all-metrics" });
    if (answer.kind !== "metrics") throw unexpected(answer);
    this.#counting = answer.seconds;
    return answer.snapshot;
  }

  async #allInFlight(): Promise<readonly FlightNote[]> {
    const answer = await this.#ask({ kind: "all-in-flight" });
    if (answer.kind !== "in-flight") throw unexpected(answer);
    return answer.notes;
  }

  async #sealHealth(): Promise<readonly SealHealth[] | undefined> {
    const answer = await this.#ask({ kind: "seal-health" });
    if (answer.kind !== "seal-health") throw unexpected(answer);
    return answer.health;
  }

  #eventRelay(): EventRelay {
    return {
      isWanted: () => this.#wanted.events,
      send: (event) => this.#channel.offer({ kind: "event", event }, { kind: "lost" }),
      want: (wanted) => this.#want("events", wanted),
      onEvent: (deliver) => {
        this.#deliver = deliver;
      },
    };
  }

  #sendLine(line: { level: LogLevel; json: string; text: string }): void {
    this.#channel.offer({ kind: "line", line }, { kind: "lost" });
  }

  async #wantLines(wanted: boolean, log: Log): Promise<void> {
    try {
      await this.#want("log", wanted);
    } catch (error) {
      log.warn("the log's reader gets no lines of other workers", { error: messageOf(error) });
    }
  }

  async #want(topic: keyof Wanted, wanted: boolean): Promise<void> {
    await this.#ask({ kind: "want", topic, wanted });
  }

  async #take(message: ToSupervisor) {
    const answer = await this.#ask(message);
    if (answer.kind !== "verdict") throw unexpected(answer);
    return answer.verdict;
  }

  #ask(message: ToSupervisor): Promise<Answer> {
    return this.#channel.ask(message, ASK_MILLIS_MAX);
  }
}

function unexpected(answer: Answer): Error {
  return new Error(`the supervisor answered with ${answer.kind}`);
}
