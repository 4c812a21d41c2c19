// ACL policies in storage, and the ACL of whoever asks. Everything is read through the request's transaction, so that
// a policy changed meanwhile makes the request's commit fail (invariant I2).
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { namespaceIdOf } from "../namespaces/namespace-transaction.ts";
import { type Acl, compileAcl, ROOT_POLICY, rootAcl } from "./acl.ts";
import { AclCache, CompiledAcl } from "./acl-cache.ts";
import { boundAcl } from "./bounded-acl.ts";
import { BUILTIN_TEXTS, DEFAULT_POLICY, IMMUTABLE_POLICIES } from "./builtin-policies.ts";
import { parsePolicy } from "./parse-policy.ts";
import type { ParsedPolicy } from "./parsed-policy.ts";
import { markPoliciesChanged, readPolicyGuard, UNGUARDED_POLICIES_MAX } from "./policy-guard.ts";
import { POLICY_PREFIX, type PolicyRecord, policyKey, policyKind, policyNameOf } from "./policy-kind.ts";
import { type PolicyWrite, policyRecordOf } from "./policy-write.ts";
import { applyTemplates } from "./templates.ts";

/** One round trip of a listing. */
const LIST_PAGE = 1_000;
const METADATA_PREFIX = "token.metadata.";

/** What of a transaction reading policies takes. */
type Reader = Pick<Transaction, "read" | "prefetch">;
type Resolve = (variable: string) => string | undefined;

/** Whose ACL is wanted: what a token's record says of it. */
export interface PolicyHolder {
  readonly policies: readonly string[];
  /** Each is a permission boundary of policy names; all must allow what the policies allow. */
  readonly boundaries: readonly (readonly string[])[];
  /** What the auth method vouches for: fills `token.metadata.…` of templates. */
  readonly vouched?: Readonly<Record<string, string>> | undefined;
}

/** The identity behind it, with the policies that it brings along. */
export interface PolicyIdentity {
  readonly policies: readonly string[];
  resolve(variable: string): string | undefined;
}

interface AclOptions {
  readonly boundaries?: readonly (readonly string[])[] | undefined;
  readonly resolve?: Resolve | undefined;
}

/** What was compiled for a holder, and for which of the things that its record does not say. */
interface HolderAcl {
  readonly namespace: string;
  readonly inherited: readonly string[];
  readonly compiled: CompiledAcl;
  /** Where there are so many policies that it is read in their place. */
  readonly guard: object | undefined;
}

const ROOT = new CompiledAcl(rootAcl, [], [], true);

export class PolicyStore {
  readonly #clock: Clock;
  readonly #cache = new AclCache();
  readonly #parsed = new WeakMap<PolicyRecord, ParsedPolicy>();
  /** Of holders whose policies have no templates. A token's record is the same object while its version is current. */
  readonly #ofHolders = new WeakMap<PolicyHolder, HolderAcl>();
  readonly #builtin: ReadonlyMap<string, ParsedPolicy>;
  constructor(clock: Clock) {
    this.#clock = clock;
    this.#builtin = new Map([...BUILTIN_TEXTS].map(([name, text]) => [name, parsePolicy(name, text)]));
  }

  /** A policy by its name in any case; built-in ones have version 0, one that has run out is not there. */
  async get(tx: Reader, name: string): Promise<PolicyRecord | undefined> {
    const key = name.toLowerCase();
    const builtin = BUILTIN_TEXTS.get(key);
    const stored = IMMUTABLE_POLICIES.includes(key) ? undefined : await this.#stored(tx, key);
    return stored ?? (builtin === undefined ? undefined : { name: key, text: builtin, version: 0, modified: "" });
  }

  /**
   * Writes a policy and answers its record; the name in it is lower case. Throws `invalid_request` for a text that does
   * not parse, a bad name, another version than was named, and policies that cannot change.
   */
  async set(
    tx: Reader & Pick<Transaction, "write">,
    name: string,
    text: string,
    wanted: Omit<PolicyWrite, "text"> = {},
  ): Promise<PolicyRecord> {
    const before = await this.#stored(tx, name.toLowerCase());
    const record = policyRecordOf(name, { ...wanted, text }, before, this.#clock.now());
    tx.write(policyKind, policyKey(record.name), record);
    markPoliciesChanged(tx, this.#clock.now());
    return record;
  }

  async #stored(tx: Reader, key: string): Promise<PolicyRecord | undefined> {
    const record = key === "" ? undefined : await tx.read(policyKind, policyKey(key));
    return record && this.#hasRunOut(record) ? undefined : record;
  }

  #hasRunOut({ expiresAtMillis = Number.POSITIVE_INFINITY }: PolicyRecord): boolean {
    return expiresAtMillis <= this.#clock.now();
  }

  /** Deletes a policy; one that is not there is no error. Throws `invalid_request` for "default" and fixed ones. */
  delete(tx: Pick<Transaction, "delete" | "write">, name: string): void {
    const key = name.toLowerCase();
    if (key === DEFAULT_POLICY) throw invalid("cannot delete default policy");
    if (IMMUTABLE_POLICIES.includes(key)) throw invalid(`cannot delete ${JSON.stringify(key)} policy`);
    if (key === "") return;
    tx.delete(policyKey(key));
    markPoliciesChanged(tx, this.#clock.now());
  }

  /** All names that can be given to tokens, sorted. Those that have run out are deleted on the way. */
  async list(tx: Reader & Pick<Transaction, "list" | "delete">): Promise<readonly string[]> {
    const names = new Set([DEFAULT_POLICY, ROOT_POLICY]);
    for (let after: string | undefined; ; ) {
      const page = await tx.list(POLICY_PREFIX, { limit: LIST_PAGE, ...(after !== undefined && { after }) });
      const found = page.map(policyNameOf);
      for (const { name, expiresAtMillis } of await this.records(tx, found)) {
        if (expiresAtMillis === undefined || expiresAtMillis > this.#clock.now()) names.add(name);
        else tx.delete(policyKey(name));
      }
      after = page.at(-1);
      if (page.length < LIST_PAGE) return [...names].sort();
    }
  }

  /** What is stored under these names, in their order; names without a record are left out. */
  async records(tx: Reader, names: readonly string[]): Promise<readonly PolicyRecord[]> {
    const records = await this.#recordsOf(tx, names);
    return records.filter((record) => record !== undefined);
  }

  /** The ACL of a token: its policies and its identity's, within all its boundaries. */
  async aclOfToken(tx: Reader, token: PolicyHolder, identity?: PolicyIdentity): Promise<Acl> {
    // An identity never makes root: that is a token's own.
    const inherited = (identity?.policies ?? []).filter((name) => name !== ROOT_POLICY);
    const namespace = namespaceIdOf(tx);
    const known = this.#ofHolders.get(token);
    const isKnown = known && known.namespace === namespace && areSame(known.inherited, inherited);
    const acl = isKnown ? await this.#currentOf(tx, known) : undefined;
    if (acl) return acl;
    // Before the policies: what changes between the two is then seen at the next request.
    const isGuarded = token.policies.length + inherited.length > UNGUARDED_POLICIES_MAX;
    const guard = isGuarded ? await readPolicyGuard(tx) : undefined;
    const compiled = await this.#compiledFor(tx, [...token.policies, ...inherited], {
      boundaries: token.boundaries,
      resolve: variablesOf(token, identity),
    });
    if (compiled.isPlain) this.#ofHolders.set(token, { namespace, inherited, compiled, guard });
    return compiled.acl;
  }

  async #currentOf(tx: Reader, { compiled, guard }: HolderAcl): Promise<Acl | undefined> {
    const now = this.#clock.now();
    if (guard && guard === (await readPolicyGuard(tx))) return compiled.aclUntil(now);
    return compiled.aclIfCurrent(await this.#recordsOf(tx, compiled.stored), now);
  }

  /**
   * The ACL of policies by name; names that do not exist grant nothing. With boundaries, only what each of them allows
   * as well. `resolve` answers template variables.
   */
  async aclFor(tx: Reader, names: readonly string[], options: AclOptions = {}): Promise<Acl> {
    return (await this.#compiledFor(tx, names, options)).acl;
  }

  async #compiledFor(tx: Reader, names: readonly string[], options: AclOptions): Promise<CompiledAcl> {
    const { boundaries = [], resolve = () => undefined } = options;
    if (boundaries.length === 0 && names.includes(ROOT_POLICY)) return ROOT;
    const sets = [names, ...boundaries].map((set) => [...new Set(set)].sort());
    const all = [...new Set(sets.flat())];
    const stored = all.filter((name) => !IMMUTABLE_POLICIES.includes(name));
    const records = await this.#recordsOf(tx, stored);
    const policies = new Map(all.map((name) => [name, this.#parsedOf(name, records[stored.indexOf(name)])]));
    const values = valuesOf([...policies.values()], resolve);
    const key = JSON.stringify([namespaceIdOf(tx), sets, [...values]]);
    const now = this.#clock.now();
    const cached = this.#cache.get(key, records, now);
    if (cached) return cached;
    const acl = compileSets(sets, policies, values, now);
    const compiled = new CompiledAcl(acl, stored, records, values.size === 0);
    this.#cache.set(key, compiled);
    return compiled;
  }

  async #recordsOf(tx: Reader, stored: readonly string[]): Promise<readonly (PolicyRecord | undefined)[]> {
    const keys = stored.map(policyKey);
    await tx.prefetch(keys);
    const records: (PolicyRecord | undefined)[] = [];
    // One after the other: they are here already, and a promise for each all at once costs more than it brings.
    for (const key of keys) records.push(await tx.read(policyKind, key));
    return records;
  }

  /**
   * The ACLs that `aclOfToken` combines, apart: the policies' own first, then one for each boundary. For explaining;
   * nothing is cached.
   */
  async aclPartsOfToken(tx: Reader, token: PolicyHolder, identity?: PolicyIdentity): Promise<readonly Acl[]> {
    const own = await this.aclOfToken(tx, { ...token, boundaries: [] }, identity);
    const resolve = variablesOf(token, identity);
    const boundaries = await Promise.all(token.boundaries.map((names) => this.aclFor(tx, names, { resolve })));
    return [own, ...boundaries];
  }

  #parsedOf(name: string, record: PolicyRecord | undefined): ParsedPolicy | undefined {
    if (!record) return this.#builtin.get(name);
    const known = this.#parsed.get(record);
    if (known) return known;
    const parsed = parseStored(record);
    this.#parsed.set(record, parsed);
    return parsed;
  }
}

function areSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((name, i) => name === others[i]);
}

/** A stored text was parsed when it was written, so a failure now is the server's. */
function parseStored(record: PolicyRecord): ParsedPolicy {
  const { allowWildcards: wildcards = false, allowSlashes: slashes = false, expiresAtMillis } = record;
  try {
    const parsed = { ...parsePolicy(record.name, record.text), templateValues: { wildcards, slashes } };
    return expiresAtMillis === undefined ? parsed : endingAt(parsed, expiresAtMillis);
  } catch (error) {
    throw new CofferError("internal", `the stored policy ${record.name} cannot be read; write it again`, {
      cause: error,
    });
  }
}

/** Each rule counts no longer than its policy. */
function endingAt(policy: ParsedPolicy, expirationMillis: Millis): ParsedPolicy {
  const rules = policy.rules.map((rule) => ({
    ...rule,
    expirationMillis: Math.min(rule.expirationMillis ?? expirationMillis, expirationMillis),
  }));
  return { ...policy, rules };
}

/** What a template's variables stand for: metadata that is vouched for, and the identity's. */
function variablesOf({ vouched = {} }: PolicyHolder, identity: PolicyIdentity | undefined): Resolve {
  const metadata = new Map(Object.entries(vouched));
  return (variable) =>
    variable.startsWith(METADATA_PREFIX)
      ? metadata.get(variable.slice(METADATA_PREFIX.length))
      : identity?.resolve(variable);
}

function valuesOf(policies: readonly (ParsedPolicy | undefined)[], resolve: Resolve): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const variable of policies.flatMap((policy) => policy?.variables ?? [])) {
    const value = resolve(variable);
    if (value !== undefined) values.set(variable, value);
  }
  return values;
}

function compileSets(
  sets: readonly (readonly string[])[],
  policies: ReadonlyMap<string, ParsedPolicy | undefined>,
  values: ReadonlyMap<string, string>,
  now: number,
): Acl {
  const compiled = sets.map((names) => {
    const found = names.map((name) => policies.get(name)).filter((policy) => policy !== undefined);
    const filled = found.map((policy) => applyTemplates(policy, (variable) => values.get(variable)));
    return compileAcl(filled, now);
  });
  return compiled.reduce(boundAcl);
}

/** The text of a policy as a client sent it: base64 is decoded, as clients of Vault expect. */
export function policyTextOf(sent: string): string {
  const compact = sent.replace(/[\r\n]/g, "");
  const isBase64 = compact !== "" && compact.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(compact);
  return isBase64 ? Buffer.from(compact, "base64").toString("utf8") : sent;
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
