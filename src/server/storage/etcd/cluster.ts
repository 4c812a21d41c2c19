// The members of an etcd cluster as one: finds one that answers, leaves one that does not or sees no leader, and keeps
// the token of the user. Which error allows another try is in faults.ts. Knows no keys; those are etcd-storage.ts's.
import { readFile } from "node:fs/promises";
import type { SecureContextOptions } from "node:tls";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { type Log, silentLog } from "#common/log.ts";
import { isRefused, isTokenOver, isTransient, storageError } from "./faults.ts";
import { connectGrpc, type GrpcConnection, type Metadata, type StreamListener } from "./grpc.ts";
import { Members } from "./members.ts";
import { authenticateRequest, parseMembers, parseToken } from "./messages.ts";
import type { EtcdOptions, TlsFiles } from "./options.ts";
import { Message } from "./wire.ts";

/** Paths of the calls: /package.service/method. */
export const METHOD = {
  range: "/etcdserverpb.KV/Range",
  txn: "/etcdserverpb.KV/Txn",
  compact: "/etcdserverpb.KV/Compact",
  lease: "/etcdserverpb.Lease/LeaseGrant",
  watch: "/etcdserverpb.Watch/Watch",
  members: "/etcdserverpb.Cluster/MemberList",
  status: "/etcdserverpb.Maintenance/Status",
  authenticate: "/etcdserverpb.Auth/Authenticate",
} as const;

/** Between tries when a member refuses: an election takes about a second. */
const PAUSE_MILLIS = 100;
const CONNECT_MILLIS_MAX = 3_000;

export class EtcdCluster {
  readonly #log: Log;
  readonly #options: EtcdOptions;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #members: Members;
  #connection: GrpcConnection | undefined;
  #connecting: Promise<GrpcConnection> | undefined;
  #token: Promise<string> | undefined;

  constructor(options: EtcdOptions, clock: Clock, log: Log = silentLog) {
    this.#log = log;
    this.#options = options;
    this.#clock = clock;
    this.#members = new Members(options.addresses);
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  assertOpen(): void {
    if (this.#closing.signal.aborted) throw new CofferError("unavailable", "the storage is closed");
  }

  /** A read is done again wherever it failed, a write only where it certainly was not done. Throws CofferError. */
  async call(method: string, message: Message, kind: "read" | "write"): Promise<Buffer> {
    const deadline = this.#clock.now() + this.#options.requestTimeoutMillis;
    for (let renewals = 0; ; ) {
      this.assertOpen();
      const connection = await this.#connect();
      try {
        return await connection.call(method, message, await this.#metadata(connection), this.#timeoutOf(kind));
      } catch (error) {
        // Closed meanwhile: a write that was on its way may have been done.
        if (this.#closing.signal.aborted) throw storageError(kind, error);
        const again = isRefused(error) || (kind === "read" && isTransient(error));
        if (this.#options.credentials !== undefined && isTokenOver(error) && renewals++ < 1) this.#token = undefined;
        else {
          if (again || isTransient(error)) this.#leave(connection);
          if (!again || this.#clock.now() >= deadline) throw storageError(kind, error);
          await this.#clock.sleep(PAUSE_MILLIS, this.#closing.signal);
        }
      }
    }
  }

  /** A stream of answers; its end is told to the listener. Throws CofferError when it cannot begin. */
  async stream(method: string, message: Message, listener: StreamListener): Promise<Disposable> {
    const connection = await this.#connect();
    try {
      return connection.stream(method, message, await this.#metadata(connection), {
        onMessage: listener.onMessage,
        onEnd: (error) => {
          if (isTokenOver(error)) this.#token = undefined;
          listener.onEnd(error);
        },
      });
    } catch (error) {
      throw storageError("read", error);
    }
  }

  /** Asks the cluster for its members; what cannot be asked now is asked again later. Never rejects. */
  async learnMembers(): Promise<void> {
    if (!this.#options.sync) return;
    try {
      const connection = await this.#connect();
      const timeout = this.#timeoutOf("read");
      const bytes = await connection.call(METHOD.members, new Message(), await this.#metadata(connection), timeout);
      if (this.#members.learn(parseMembers(bytes)))
        this.#log.info("etcd's members", { addresses: this.#members.addresses.join(",") });
    } catch (error) {
      this.#log.debug("cannot ask etcd for its members", { error: messageOf(error) });
    }
  }

  close(): void {
    this.#closing.abort();
    this.#connection?.destroy();
  }

  /** With several members there is time for another one. */
  #timeoutOf(kind: "read" | "write"): Millis {
    const { requestTimeoutMillis } = this.#options;
    return kind === "read" && this.#members.addresses.length > 1
      ? Math.ceil(requestTimeoutMillis / 2)
      : requestTimeoutMillis;
  }

  async #connect(): Promise<GrpcConnection> {
    if (this.#connection?.alive) return this.#connection;
    this.#connecting ??= this.#connectToAny().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  async #connectToAny(): Promise<GrpcConnection> {
    const { requestTimeoutMillis } = this.#options;
    const { length } = this.#members.addresses;
    const failures: string[] = [];
    let cause: unknown;
    for (let i = 0; i < length; i++) {
      this.assertOpen();
      const address = this.#members.current;
      try {
        return await this.#connectTo(address, Math.min(CONNECT_MILLIS_MAX, requestTimeoutMillis));
      } catch (error) {
        failures.push(`${address}: ${messageOf(error)}`);
        cause = error;
        this.#members.skip();
      }
    }
    throw new CofferError("unavailable", `no member of etcd answers (${failures.join("; ")}); check that it runs`, {
      cause,
    });
  }

  async #connectTo(address: string, connectTimeoutMillis: Millis): Promise<GrpcConnection> {
    const tls = address.startsWith("https:") ? await readTls(this.#options.tls) : undefined;
    const connection = await connectGrpc({ address, tls, connectTimeoutMillis, clock: this.#clock });
    if (this.#closing.signal.aborted) connection.destroy();
    this.#connection = connection;
    // Whoever has moved to another member may have lost one that was replaced.
    void this.learnMembers();
    return connection;
  }

  /** The next call goes to the next member; what is on its way here may finish. */
  #leave(connection: GrpcConnection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#members.skip();
    connection.retire();
  }

  /** `hasleader` lets a member without a leader refuse at once, which would otherwise wait for one. */
  async #metadata(connection: GrpcConnection): Promise<Metadata> {
    if (this.#options.credentials === undefined) return { hasleader: "true" };
    this.#token ??= this.#authenticate(connection);
    try {
      return { hasleader: "true", token: await this.#token };
    } catch (error) {
      this.#token = undefined;
      throw error;
    }
  }

  async #authenticate(connection: GrpcConnection): Promise<string> {
    const { credentials, requestTimeoutMillis } = this.#options;
    const message = authenticateRequest(credentials?.username ?? "", credentials?.password ?? "");
    return parseToken(await connection.call(METHOD.authenticate, message, {}, requestTimeoutMillis));
  }
}

async function readTls({ ca, cert, key }: TlsFiles): Promise<SecureContextOptions> {
  const pem = async (name: string, file: string | undefined) => {
    if (file === undefined) return undefined;
    return readFile(file).catch((cause: unknown) => {
      throw new CofferError("invalid_request", `storage.${name} cannot be read (${messageOf(cause)})`, { cause });
    });
  };
  const read = {
    ca: await pem("tls_ca_file", ca),
    cert: await pem("tls_cert_file", cert),
    key: await pem("tls_key_file", key),
  };
  return { ...(read.ca && { ca: read.ca }), ...(read.cert && { cert: read.cert }), ...(read.key && { key: read.key }) };
}
