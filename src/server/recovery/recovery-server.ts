// A server in recovery mode: seals open as usual and nothing else runs. No mounts, tokens, policies, audit devices or
// background work, because one of them may be what is broken; so there is no pipeline either. Each use of raw storage is
// a line of the log, with its key and without its value.
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { Barrier } from "../barrier/barrier.ts";
import { storageView } from "../barrier/storage-view.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { KeyCustody } from "../ceremony/key-custody.ts";
import { encodeError, encodeReply } from "../core/encode.ts";
import { Node } from "../core/node.ts";
import type { Answer, Request } from "../core/request.ts";
import { SealSet } from "../core/seal-set.ts";
import { sealedTransaction } from "../core/steps/resolve.ts";
import type { MountInfo, PrivilegedContext } from "../framework/context.ts";
import { invalidToken, multiError } from "../framework/multi-error.ts";
import { nothingOutside } from "../framework/outside.ts";
import type { Path } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import { ROOT_SCOPE } from "../namespaces/namespace-scope.ts";
import type { Seal } from "../seal/seal.ts";
import { SealWrap } from "../seal-wrap/seal-wrap.ts";
import type { Storage } from "../storage/storage.ts";
import { recoveryPaths } from "./recovery-paths.ts";
import { RecoveryToken } from "./recovery-token.ts";

export interface RecoveryParts {
  readonly storage: Storage;
  readonly storageType: string;
  readonly seals: readonly Seal[];
  readonly retiredSeals: readonly Seal[];
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly buildDate: string;
}

export interface RecoveryServer {
  readonly node: Node;
  readonly serve: (request: Request) => Promise<Answer>;
}

/** A request whose reads kept changing is given up after this: in recovery mode hardly anybody else writes. */
const ATTEMPTS_MAX = 10;
const PREFIX = "sys/";

export function assembleRecovery(parts: RecoveryParts): RecoveryServer {
  const { storage, clock, log, storageType, version, buildDate } = parts;
  const seals = new SealSet(parts.seals, parts.retiredSeals);
  const barrier = new Barrier({ storage, clock, log });
  new SealWrap({ storage, barrier, seals, clock, log });
  const node = new Node({ storage, barrier, seals, clock, log });
  const custody = new KeyCustody({ storage, barrier, seals, node, clock });
  const token = new RecoveryToken({ node, custody, clock, log });
  const paths = recoveryPaths({ node, barrier, clock, storageType, version, buildDate }, token);
  const services: Services = { barrier, clock, log, token, paths };
  return { node, serve: (request) => serve(request, services) };
}

interface Services {
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly log: Log;
  readonly token: RecoveryToken;
  readonly paths: readonly Path<PrivilegedContext>[];
}

async function serve(request: Request, services: Services): Promise<Answer> {
  try {
    const { definition, parameters } = find(request, services.paths);
    authorise(request, definition, services);
    const handle = (tx: Transaction) =>
      definition.handle(request.operation, contextOf(request, tx, services), parameters);
    const isRaw = definition.access !== "public";
    const reply = isRaw ? await inTransaction(services.barrier, handle) : await handle(sealedTransaction);
    if (isRaw) note("raw storage was used", request, services.log);
    return encodeReply({
      ...{ request, reply, tx: undefined, scope: ROOT_SCOPE, operation: request.operation },
      ...{ warnings: [...(reply?.warnings ?? [])], audited: { request: true } },
    });
  } catch (error) {
    return encodeError(error, request, services.log);
  }
}

function find({ path, namespace, operation, wrapTtlSeconds }: Request, paths: Services["paths"]) {
  if (namespace !== "") throw new CofferError("invalid_request", "there are no namespaces in recovery mode");
  if (wrapTtlSeconds) throw new CofferError("invalid_request", "answers cannot be wrapped in recovery mode");
  for (const definition of path.startsWith(PREFIX) ? paths : []) {
    const parameters = definition.match(path.slice(PREFIX.length));
    if (!parameters) continue;
    if (!definition.operations.has(operation)) throw multiError("unsupported_operation", "unsupported operation");
    return { definition, parameters };
  }
  throw multiError("unsupported_path", "unsupported path: this server is in recovery mode");
}

function authorise(request: Request, { access }: Path<PrivilegedContext>, { barrier, token, log }: Services): void {
  if (access === "public") return;
  if (barrier.isSealed) throw new CofferError("sealed", "Vault is sealed");
  if (token.accepts(request.clientToken)) return;
  note("raw storage was refused", request, log);
  throw invalidToken();
}

async function inTransaction(
  barrier: Barrier,
  handle: (tx: Transaction) => Promise<Reply | undefined>,
): Promise<Reply | undefined> {
  for (let attempt = 1; ; attempt++) {
    const tx = barrier.begin();
    const reply = await handle(tx);
    if ((await tx.commit()) === "committed") return reply;
    if (attempt >= ATTEMPTS_MAX)
      throw new CofferError("conflict", "what this request reads is changing too fast; stop the other servers");
  }
}

/** Keys and addresses, never values: the log is the only witness here. */
function note(what: string, { operation, path, remoteAddress }: Request, log: Log): void {
  log.warn(what, { operation, path: path.slice(PREFIX.length), remoteAddress });
}

const MOUNT: MountInfo = {
  path: PREFIX,
  type: "system",
  accessor: "",
  uuid: "recovery",
  options: {},
  defaultTtlSeconds: 0,
  maxTtlSeconds: 0,
};

function contextOf(request: Request, tx: Transaction, { clock, log }: Services): PrivilegedContext {
  const { operation, path, remoteAddress, data, page, clientToken, wrapTtlSeconds, namespace, query } = request;
  return {
    ...{ operation, remoteAddress, data, page, clientToken, wrapTtlSeconds, namespace, query, clock, log },
    path: path.slice(PREFIX.length),
    mount: MOUNT,
    storage: storageView(tx, "recovery/"),
    caller: undefined,
    passwordByPolicy: async () => undefined,
    emit: () => {},
    outside: nothingOutside,
    transaction: tx,
    hasSudo: true,
    scope: ROOT_SCOPE,
  };
}
