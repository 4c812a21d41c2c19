// Login MFA: which logins need a second factor, and checking it. A login that has shown its first factor and not yet the
// second is kept here without a token, because there is none until both are shown.
import { createSecretKey, randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { constantTimeEqual } from "#common/secret-bytes.ts";
import { totpCode, totpCounter } from "#common/totp.ts";
import type { Barrier } from "../../barrier/barrier.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { MfaRequirement } from "../../framework/reply.ts";
import { currentEntity, idsOf } from "../entities.ts";
import { groupsOf } from "../groups.ts";
import { methodOfHandle, readEnforcements, readMethod } from "./mfa-config.ts";
import {
  type Attempts,
  attemptsKey,
  attemptsKind,
  type DeferredLogin,
  deferredKey,
  deferredKind,
  type Enforcement,
  LOGIN_EXPIRY_PREFIX,
  type Method,
  secretKey,
  secretKind,
  type TotpSecret,
} from "./mfa-records.ts";

/** How long after the password a code may come. */
export const DEFERRED_SECONDS = 300;
/** Deferred logins that one request removes once they are too old: more than the one it adds. */
const REMOVED_AT_ONCE = 16;
/** Others may count a try at the same moment. */
const ATTEMPTS_MAX = 40;
/** Seconds until the year 33658 have as many digits, so that keys sort by time. */
const SECONDS_DIGITS = 12;
/** Codes that one request may bring. */
const CREDENTIALS_MAX = 16;

/** Codes by the id or name of their method. */
export type MfaCredentials = ReadonlyMap<string, string>;

export interface LoginSubject {
  readonly mountAccessor: string;
  readonly mountType: string;
  readonly entityId: string;
}

/** The codes of one login, by the id of their method. */
interface Showing {
  readonly entityId: string;
  readonly codes: ReadonlyMap<string, string>;
  /** What was checked already, because one code may satisfy several enforcements. */
  readonly checked: Map<string, Promise<void>>;
  readonly isRepeated: boolean;
}

/** Why one factor is not good; becomes a part of what the client is told. */
class FactorRefused extends Error {}

export class LoginMfa {
  readonly #clock: Clock;
  readonly #barrier: Pick<Barrier, "begin">;
  constructor(clock: Clock, barrier: Pick<Barrier, "begin">) {
    this.#clock = clock;
    this.#barrier = barrier;
  }

  /** What a login must satisfy besides its password; none for most. */
  async demandsOn(
    tx: Transaction,
    { mountAccessor, mountType, entityId }: LoginSubject,
  ): Promise<readonly Enforcement[]> {
    const enforcements = await readEnforcements(tx);
    if (enforcements.length === 0) return [];
    const entity = await currentEntity(tx, entityId);
    const { direct, inherited } = entity ? await groupsOf(tx, entity) : { direct: [], inherited: [] };
    const ids = entity ? idsOf(entity) : new Set([entityId]);
    const groupIds = new Set([...direct, ...inherited].map((group) => group.id));
    return enforcements.filter(
      (one) =>
        one.mountAccessors.includes(mountAccessor) ||
        one.mountTypes.includes(mountType) ||
        one.entityIds.some((id) => ids.has(id)) ||
        one.groupIds.some((id) => groupIds.has(id)),
    );
  }

  /**
   * Throws `permission_denied` unless each enforcement has one of its factors. The codes are thereby used. `isRepeated`:
   * the same codes were good a moment ago, so this is no other try.
   */
  async check(
    tx: Transaction,
    entityId: string,
    enforcements: readonly Enforcement[],
    credentials: MfaCredentials,
    isRepeated = false,
  ): Promise<void> {
    const codes = new Map<string, string>();
    for (const [handle, code] of [...credentials].slice(0, CREDENTIALS_MAX)) {
      const method = await methodOfHandle(tx, handle);
      if (method) codes.set(method.id, code);
    }
    const showing: Showing = { entityId, codes, checked: new Map(), isRepeated };
    for (const enforcement of enforcements) await this.#satisfy(tx, enforcement, showing);
  }

  async #satisfy(tx: Transaction, { name, methodIds }: Enforcement, showing: Showing): Promise<void> {
    const reasons: string[] = [];
    for (const id of methodIds) {
      const code = showing.codes.get(id);
      if (code === undefined) continue;
      try {
        const checked = showing.checked.get(id) ?? this.#checkFactor(tx, showing, id, code);
        showing.checked.set(id, checked);
        return await checked;
      } catch (error) {
        if (!(error instanceof FactorRefused)) throw error;
        reasons.push(error.message);
      }
    }
    reasons.push(`login MFA validation failed for methodID: [${methodIds.join(" ")}]`);
    const count = `${reasons.length} error${reasons.length > 1 ? "s" : ""} occurred:`;
    const lines = reasons.map((reason) => `\t* ${reason}\n`).join("");
    throw new CofferError("permission_denied", `failed to satisfy enforcement ${name}. error: ${count}\n${lines}\n`);
  }

  async #checkFactor(
    tx: Transaction,
    { entityId, isRepeated }: Showing,
    methodId: string,
    code: string,
  ): Promise<void> {
    const method = await readMethod(tx, methodId);
    if (!method) throw new FactorRefused("the MFA method is gone");
    const secret = await tx.read(secretKind, secretKey(methodId, entityId));
    if (!secret) throw new FactorRefused("entity does not contain the TOTP secret");
    if (!isRepeated) await this.#countTry(method, entityId);
    const key = attemptsKey(methodId, entityId);
    const { lastCounter } = (await tx.read(attemptsKind, key)) ?? NO_ATTEMPTS;
    const counter = this.#counterOf(secret, code);
    if (counter === undefined) throw new FactorRefused("failed to validate TOTP passcode");
    if (counter <= lastCounter)
      throw new FactorRefused(`code already used; new code is available in ${secret.periodSeconds} seconds`);
    tx.write(attemptsKind, key, { tries: 0, sinceSeconds: 0, lastCounter: counter });
  }

  /**
   * Counts a try before it is made, in a commit of its own: whoever sends many at the same moment has no more of them
   * than one who sends them in turn. A good code sets the count back.
   */
  async #countTry({ id, maxValidationAttempts: max }: Method, entityId: string): Promise<void> {
    const key = attemptsKey(id, entityId);
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = this.#barrier.begin();
      const before = (await tx.read(attemptsKind, key)) ?? NO_ATTEMPTS;
      const now = this.#nowSeconds();
      const secret = await tx.read(secretKind, secretKey(id, entityId));
      const waitSeconds = before.sinceSeconds + (secret?.periodSeconds ?? 0) - now;
      const isOver = before.tries === 0 || waitSeconds <= 0;
      if (!isOver && before.tries >= max)
        throw new FactorRefused(
          `maximum TOTP validation attempts ${before.tries} exceeded the allowed attempts ${max}. Please try again in ${waitSeconds} seconds`,
        );
      const counted: Attempts = isOver
        ? { ...before, tries: 1, sinceSeconds: now }
        : { ...before, tries: before.tries + 1 };
      tx.write(attemptsKind, key, counted);
      if ((await tx.commit()) === "committed") return;
    }
    throw new CofferError("conflict", "others are logging in as this entity; try again");
  }

  /** The period whose code this is, within the skew. */
  #counterOf(secret: TotpSecret, sent: string): number | undefined {
    const code = sent.trim();
    const bytes = Buffer.from(secret.key, "base64");
    const key = createSecretKey(bytes);
    bytes.fill(0);
    const present = totpCounter(secret, this.#nowSeconds());
    let found: number | undefined;
    for (let counter = present - secret.skew; counter <= present + secret.skew; counter++)
      if (constantTimeEqual(Buffer.from(totpCode(key, secret, counter)), Buffer.from(code))) found = counter;
    return found;
  }

  /** Keeps a login until its codes come; answers what the client must send. */
  async defer(
    tx: Transaction,
    login: Omit<DeferredLogin, "expiresAtSeconds">,
    enforcements: readonly Enforcement[],
  ): Promise<MfaRequirement> {
    await this.#removeExpired(tx);
    const id = randomUUID();
    const expiresAtSeconds = this.#nowSeconds() + DEFERRED_SECONDS;
    tx.write(deferredKind, deferredKey(id), { ...login, expiresAtSeconds });
    tx.put(expiryKey(expiresAtSeconds, id), new Uint8Array());
    const constraints: [string, MfaRequirement["mfa_constraints"][string]][] = [];
    for (const { name, methodIds } of enforcements) {
      const methods = await Promise.all(methodIds.map((methodId) => readMethod(tx, methodId)));
      const any = methods
        .filter((method) => method !== undefined)
        .map((method) => ({ type: "totp", id: method.id, uses_passcode: true, name: method.name }));
      constraints.push([name, { any }]);
    }
    return { mfa_request_id: id, mfa_constraints: Object.fromEntries(constraints) };
  }

  /** The deferred login of a request id. Throws `invalid_request` when there is none, or no longer. */
  async deferred(tx: Transaction, requestId: string): Promise<DeferredLogin> {
    const login = requestId === "" ? undefined : await tx.read(deferredKind, deferredKey(requestId));
    if (login && this.#nowSeconds() < login.expiresAtSeconds) return login;
    throw new CofferError("invalid_request", "invalid request ID");
  }

  /** A login goes on once. */
  finish(tx: Transaction, requestId: string, login: DeferredLogin): void {
    tx.delete(deferredKey(requestId));
    tx.delete(expiryKey(login.expiresAtSeconds, requestId));
  }

  async #removeExpired(tx: Transaction): Promise<void> {
    const to = expiryKey(this.#nowSeconds() + 1, "");
    for (const key of await tx.scan({ from: LOGIN_EXPIRY_PREFIX, to, limit: REMOVED_AT_ONCE })) {
      tx.delete(deferredKey(key.slice(to.length)));
      tx.delete(key);
    }
  }

  #nowSeconds(): number {
    return Math.floor(this.#clock.now() / 1000);
  }
}

const NO_ATTEMPTS: Attempts = { tries: 0, sinceSeconds: 0, lastCounter: 0 };

function expiryKey(atSeconds: number, id: string): string {
  return `${LOGIN_EXPIRY_PREFIX}${String(atSeconds).padStart(SECONDS_DIGITS, "0")}/${id}`;
}
