// The messages of etcd's API v3 that a store uses: etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, whose
// field numbers stand here as they stand there. Pure; calls are made in cluster.ts.
import { Fields, Message } from "./wire.ts";

export interface KeyValue {
  readonly key: Buffer;
  readonly modRevision: number;
  readonly value: Buffer;
}

export interface RangeResult {
  readonly entries: readonly KeyValue[];
  readonly more: boolean;
}

export interface TxnResult {
  readonly revision: number;
  readonly succeeded: boolean;
  readonly ranges: readonly RangeResult[];
  /** Of the transactions inside this one. */
  readonly inner: readonly TxnResult[];
}

export interface WatchResult {
  readonly revision: number;
  readonly created: boolean;
  readonly canceled: boolean;
  /** Not 0 when what was to be watched has been compacted. */
  readonly compactRevision: number;
  readonly events: readonly KeyValue[];
}

export interface StatusResult {
  readonly version: string;
  readonly revision: number;
  /** Bytes of the database file, and those of it that are not free. */
  readonly size: number;
  readonly sizeInUse: number;
  /** 0 where the server does not tell (before 3.6). */
  readonly quota: number;
  /** Alarms and the like, as texts: "memberID:10501334649042878790 alarm:NOSPACE ". */
  readonly errors: readonly string[];
}

export interface MemberResult {
  /** Where clients reach it; none until it has started. */
  readonly clientUrls: readonly string[];
  /** It has no vote yet, and serves nothing that is linearizable. */
  readonly isLearner: boolean;
}

/** Compare.CompareResult and Compare.CompareTarget. */
const EQUAL = 0;
const MOD = 2;

export interface RangeOptions {
  /** End of a range, exclusive; a single key without it. */
  readonly end?: Uint8Array;
  readonly limit?: number;
  /** Of this moment; of now when 0. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
}

export function rangeRequest(key: Uint8Array, options: RangeOptions = {}): Message {
  const message = new Message().bytes(1, key);
  if (options.end !== undefined) message.bytes(2, options.end);
  return message
    .number(3, options.limit ?? 0)
    .number(4, options.revision ?? 0)
    .number(8, options.keysOnly === true ? 1 : 0);
}

/** Several keys of one moment. */
export function getRequest(keys: readonly Uint8Array[], options: RangeOptions = {}): Message {
  const message = new Message();
  for (const key of keys) message.message(2, new Message().message(1, rangeRequest(key, options)));
  return message;
}

export interface Comparison {
  readonly key: Uint8Array;
  /** 0 for a key that must be absent. */
  readonly modRevision: bigint;
}

/** Key and value, or null to delete; perhaps under a lease. */
export type Write = readonly [key: Uint8Array, value: Uint8Array | null, lease?: number];

export interface CommitParts {
  readonly comparisons: readonly Comparison[];
  readonly writes: readonly Write[];
  /** Read when a comparison does not hold. */
  readonly otherwise?: Uint8Array;
  /** Spreads the writes over so many transactions inside the one; 0 for none. */
  readonly groups?: number;
}

/** Does all writes when all comparisons hold. */
export function commitRequest({ comparisons, writes, otherwise, groups = 0 }: CommitParts): Message {
  const message = new Message();
  for (const { key, modRevision } of comparisons)
    message.message(1, new Message().number(1, EQUAL).number(2, MOD).bytes(3, key).oneof(6, modRevision));
  const size = Math.ceil(writes.length / groups);
  if (groups === 0) for (const write of writes) message.message(2, writeOperation(write));
  else
    for (let i = 0; i < writes.length; i += size) {
      const inner = commitRequest({ comparisons: [], writes: writes.slice(i, i + size) });
      message.message(2, new Message().message(4, inner));
    }
  if (otherwise !== undefined) message.message(3, new Message().message(1, rangeRequest(otherwise)));
  return message;
}

/** Several commits as one transaction: each decides for itself. */
export function groupRequest(commits: readonly Message[]): Message {
  const message = new Message();
  for (const commit of commits) message.message(2, new Message().message(4, commit));
  return message;
}

function writeOperation([key, value, lease = 0]: Write): Message {
  if (value === null) return new Message().message(3, new Message().bytes(1, key));
  return new Message().message(2, new Message().bytes(1, key).bytes(2, value).number(3, lease));
}

/**
 * How many inner transactions so many writes need beside so many comparisons: 0 for none, undefined when it cannot be
 * done. etcd allows a transaction the maximum of operations less what the one around it has (checkTxnRequest in its
 * server/etcdserver/api/v3rpc/key.go), but counts neither siblings nor all of them together.
 */
export function groupsFor(comparisons: number, writes: number, operationsMax: number): number | undefined {
  if (Math.max(comparisons, writes) <= operationsMax) return 0;
  for (let groups = 1; groups < operationsMax; groups++)
    if (groups * (operationsMax - Math.max(comparisons, groups)) >= writes) return groups;
  return undefined;
}

/** A lease of an identifier that the caller has chosen. */
export function leaseRequest(id: number, seconds: number): Message {
  return new Message().number(1, seconds).number(2, id);
}

/** Everything of a range from a revision on; 0 is from now on. */
export function watchRequest(key: Uint8Array, end: Uint8Array, startRevision: number): Message {
  const create = new Message().bytes(1, key).bytes(2, end).number(3, startRevision).number(4, 1);
  return new Message().message(1, create);
}

export function authenticateRequest(name: string, password: string): Message {
  return new Message().bytes(1, Buffer.from(name)).bytes(2, Buffer.from(password));
}

export function compactRequest(revision: number): Message {
  return new Message().number(1, revision);
}

export function parseRange(bytes: Buffer): RangeResult & { readonly revision: number } {
  const entries: KeyValue[] = [];
  let [revision, more] = [0, false];
  for (const [field, fields] of each(bytes)) {
    if (field === 1) revision = parseHeader(fields.bytes());
    else if (field === 2) entries.push(parseKeyValue(fields.bytes()));
    else if (field === 3) more = fields.number() !== 0;
    else fields.skip();
  }
  return { revision, entries, more };
}

/** The revision is the outermost one's: those inside have none of their own. */
export function parseTxn(bytes: Buffer, outer?: number): TxnResult {
  const responses: Buffer[] = [];
  let [revision, succeeded] = [outer ?? 0, false];
  for (const [field, fields] of each(bytes)) {
    if (field === 1 && outer === undefined) revision = parseHeader(fields.bytes());
    else if (field === 2) succeeded = fields.number() !== 0;
    else if (field === 3) responses.push(fields.bytes());
    else fields.skip();
  }
  const [ranges, inner]: [RangeResult[], TxnResult[]] = [[], []];
  for (const response of responses)
    for (const [field, fields] of each(response)) {
      if (field === 1) ranges.push(parseRange(fields.bytes()));
      else if (field === 4) inner.push(parseTxn(fields.bytes(), revision));
      // What puts and deletes answer says nothing.
      else fields.skip();
    }
  return { revision, succeeded, ranges, inner };
}

export function parseWatch(bytes: Buffer): WatchResult {
  const events: KeyValue[] = [];
  let [revision, compactRevision, created, canceled] = [0, 0, false, false];
  for (const [field, fields] of each(bytes)) {
    if (field === 1) revision = parseHeader(fields.bytes());
    else if (field === 3) created = fields.number() !== 0;
    else if (field === 4) canceled = fields.number() !== 0;
    else if (field === 5) compactRevision = fields.number();
    else if (field === 11) events.push(...parseEvent(fields.bytes()));
    else fields.skip();
  }
  return { revision, created, canceled, compactRevision, events };
}

export function parseStatus(bytes: Buffer): StatusResult {
  let [version, revision, size, sizeInUse, quota] = ["", 0, 0, 0, 0];
  const errors: string[] = [];
  for (const [field, fields] of each(bytes)) {
    if (field === 1) revision = parseHeader(fields.bytes());
    else if (field === 2) version = fields.bytes().toString("utf8");
    else if (field === 3) size = fields.number();
    else if (field === 8) errors.push(fields.bytes().toString("utf8"));
    else if (field === 9) sizeInUse = fields.number();
    else if (field === 12) quota = fields.number();
    else fields.skip();
  }
  return { version, revision, size, sizeInUse, quota, errors };
}

/** The members of a MemberListResponse. */
export function parseMembers(bytes: Buffer): readonly MemberResult[] {
  const members: MemberResult[] = [];
  for (const [field, fields] of each(bytes)) {
    if (field === 2) members.push(parseMember(fields.bytes()));
    else fields.skip();
  }
  return members;
}

function parseMember(bytes: Buffer): MemberResult {
  const clientUrls: string[] = [];
  let isLearner = false;
  for (const [field, fields] of each(bytes)) {
    if (field === 4) clientUrls.push(fields.bytes().toString("utf8"));
    else if (field === 5) isLearner = fields.number() !== 0;
    else fields.skip();
  }
  return { clientUrls, isLearner };
}

/** The token of an AuthenticateResponse. */
export function parseToken(bytes: Buffer): string {
  let token = "";
  for (const [field, fields] of each(bytes)) {
    if (field === 2) token = fields.bytes().toString("utf8");
    else fields.skip();
  }
  return token;
}

function* each(bytes: Buffer): Generator<readonly [number, Fields]> {
  const fields = new Fields(bytes);
  for (let field = fields.next(); field !== 0; field = fields.next()) yield [field, fields];
}

function parseHeader(bytes: Buffer): number {
  let revision = 0;
  for (const [field, fields] of each(bytes)) {
    if (field === 3) revision = fields.number();
    else fields.skip();
  }
  return revision;
}

function parseKeyValue(bytes: Buffer): KeyValue {
  let modRevision = 0;
  let [key, value]: readonly Buffer[] = [];
  for (const [field, fields] of each(bytes)) {
    if (field === 1) key = fields.bytes();
    else if (field === 3) modRevision = fields.number();
    else if (field === 5) value = fields.bytes();
    else fields.skip();
  }
  return { key: key ?? EMPTY, modRevision, value: value ?? EMPTY };
}

function parseEvent(bytes: Buffer): KeyValue[] {
  const entries: KeyValue[] = [];
  for (const [field, fields] of each(bytes)) {
    if (field === 2) entries.push(parseKeyValue(fields.bytes()));
    else fields.skip();
  }
  return entries;
}

const EMPTY = Buffer.alloc(0);
