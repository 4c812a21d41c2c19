// Runs one backend as the core would, for the tests of engines and auth methods: over a real barrier on storage in
// memory, with a clock that stands still. One call is one transaction, committed unless the handler throws. There is
// no ACL, no token and no HTTP here; a Reply comes back as the handler gave it.
import { FakeClock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import { storageView } from "../barrier/storage-view.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Page } from "../storage/storage.ts";
import type { Backend, BackendType } from "./backend.ts";
import type { Caller, Context, MountInfo, Operation } from "./context.ts";
import type { BackendEvent } from "./event.ts";
import { HeavyWork } from "./heavy-work.ts";
import type { Intent, OutsideJournal } from "./outside.ts";
import type { Path } from "./path.ts";
import type { Reply } from "./reply.ts";

/** Far more than any test stores. */
const PAGE_LIMIT = 10_000;
const ROOT_KEY_BYTES = 32;
const RERUNS_MAX = 10;

export interface HarnessOptions {
  /** Mount options, such as KV's version. */
  readonly options?: Readonly<Record<string, string>>;
  /** Local files by their path; others are not there. */
  readonly files?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly mount?: Partial<MountInfo>;
  readonly clock?: FakeClock;
  /** Password policies by their name, each a function that makes one; others are not there. */
  readonly passwords?: Readonly<Record<string, () => string>>;
}

export interface CallOptions {
  readonly caller?: Partial<Caller>;
  readonly remoteAddress?: string;
  readonly page?: Partial<Page>;
}

export interface Harness {
  readonly backend: Backend;
  readonly clock: FakeClock;
  /** What calls that committed have told so far. */
  readonly events: readonly BackendEvent[];
  /** Runs an operation and commits. "update" becomes "create" where the path says that nothing is there yet. */
  call(operation: Operation, path: string, data?: JsonObject, options?: CallOptions): Promise<Reply | undefined>;
  /** What is outside and in no commit: intents whose call failed or whose effect did. */
  readonly intents: readonly Intent[];
  /** Undoes all of that, as the sweep would; what fails stays. */
  undo(): Promise<void>;
  /** Every stored key of the mount with its plaintext, to see what is kept in the clear. */
  dump(): Promise<ReadonlyMap<string, string>>;
}

const CALLER: Caller = {
  tokenAccessor: "accessor",
  tokenHash: "hash",
  cubbyholeId: "cubbyhole-1",
  policies: ["default"],
  displayName: "token",
  metadata: {},
  entityId: "",
};

const PREFIX = "mount/";

/** Makes a backend of the given type and a place to run it. */
export async function createHarness(type: BackendType, options: HarnessOptions = {}): Promise<Harness> {
  const clock = options.clock ?? new FakeClock();
  const storage = openMemoryStorage();
  const barrier = new Barrier({ storage, clock, log: silentLog });
  using rootKey = SecretBytes.random(ROOT_KEY_BYTES);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const files = options.files ?? {};
  const backend = type.create(options.options ?? {}, {
    clock,
    log: silentLog,
    environment: options.environment ?? {},
    heavy: new HeavyWork(),
    readFile: async (path) => files[path] ?? fail(`there is no file ${path}`),
  });
  const mount = mountOf(type.type, options);
  const events: BackendEvent[] = [];
  const intents: Intent[] = [];
  const call: Harness["call"] = async (operation, path, data = {}, callOptions = {}) => {
    for (let run = 0; run < RERUNS_MAX; run++) {
      const tx = barrier.begin();
      const told: BackendEvent[] = [];
      const made: Intent[] = [];
      const outside = journalOf(intents, made);
      const context = contextOf({ tx, told, clock, mount, operation, path, data, callOptions, options, outside });
      const reply = await dispatch(backend, context);
      if ((await tx.commit()) !== "committed") continue;
      for (const intent of made) intents.splice(intents.indexOf(intent), 1);
      events.push(...told);
      return reply;
    }
    return fail("the transaction met a conflict every time");
  };
  const undo = async () => {
    for (const intent of [...intents]) {
      const tx = barrier.begin();
      const kind = backend.effects?.[intent.kind] ?? fail(`the backend has no effect ${intent.kind}`);
      const { signal } = new AbortController();
      await kind.undo({ storage: storageView(tx, PREFIX), clock, log: silentLog, mount, signal }, intent.data);
      await tx.commit();
      intents.splice(intents.indexOf(intent), 1);
    }
  };
  return { backend, clock, events, call, intents, undo, dump: () => dump(barrier) };
}

function journalOf(intents: Intent[], made: Intent[]): OutsideJournal {
  return {
    make: async (intent, effect) => {
      intents.push(intent);
      const result = await effect(new AbortController().signal);
      made.push(intent);
      return result;
    },
  };
}

function mountOf(type: string, options: HarnessOptions): MountInfo {
  const month = 2_764_800;
  const basis = { path: `${type}/`, type, accessor: `${type}_00000000`, uuid: "00000000-0000-4000-8000-000000000000" };
  const ttls = { defaultTtlSeconds: month, maxTtlSeconds: month };
  return { ...basis, ...ttls, options: options.options ?? {}, ...options.mount };
}

function contextOf(parts: {
  tx: Transaction;
  told: BackendEvent[];
  clock: FakeClock;
  mount: MountInfo;
  operation: Operation;
  path: string;
  data: JsonObject;
  callOptions: CallOptions;
  options: HarnessOptions;
  outside: OutsideJournal;
}): Context {
  const { tx, told, clock, mount, operation, path, data, callOptions, options, outside } = parts;
  return {
    operation,
    path,
    mount,
    data,
    clock,
    storage: storageView(tx, PREFIX),
    log: silentLog,
    caller: { ...CALLER, ...callOptions.caller },
    remoteAddress: callOptions.remoteAddress ?? "127.0.0.1",
    page: { limit: PAGE_LIMIT, ...callOptions.page },
    passwordByPolicy: async (name) => options.passwords?.[name]?.(),
    emit: (event) => void told.push(event),
    outside,
  };
}

async function dispatch(backend: Backend, context: Context): Promise<Reply | undefined> {
  for (const path of backend.paths) {
    const parameters = path.match(context.path);
    if (parameters === undefined) continue;
    const operation = await operationOn(path, context, parameters);
    if (!path.operations.has(operation)) throw new CofferError("unsupported_operation", "unsupported operation");
    return path.handle(operation, { ...context, operation }, parameters);
  }
  throw new CofferError("unsupported_path", "unsupported path");
}

async function operationOn(
  path: Path<Context>,
  context: Context,
  parameters: Readonly<Record<string, string>>,
): Promise<Operation> {
  if (context.operation !== "update" || path.exists === undefined) return context.operation;
  return (await path.exists(context, parameters)) ? "update" : "create";
}

async function dump(barrier: Barrier): Promise<ReadonlyMap<string, string>> {
  const tx = barrier.begin();
  const found = new Map<string, string>();
  for (const key of await tx.scan({ from: PREFIX, to: `${PREFIX}\u{10ffff}`, limit: PAGE_LIMIT })) {
    const value = await tx.get(key);
    if (value !== undefined) found.set(key.slice(PREFIX.length), Buffer.from(value).toString("utf8"));
  }
  return found;
}

function fail(message: string): never {
  throw new Error(message);
}
