// The certificate a replica serves its webhooks with: short-lived, in memory only, signed by the authority that the
// replicas share in a Secret, swapped without a restart.
//
// No admission may fail by an unknown authority, so a successor is used only once it is trusted:
//
//   authority A trusted ─► B joins the Secret ─► bundle A+B is in every caBundle ─► after the propagation time leaves are
//   signed by B ─► A expires and leaves the bundle
//
// A replica is ready when its certificate is signed by an authority that the live caBundle holds.
import type { SecureContextOptions } from "node:tls";
import { type Clock, type Millis, systemClock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { type CertificateFacts, type CertificatePair, issueServerCertificate, readCertificate } from "#common/x509.ts";
import { backoffMillis } from "./backoff.ts";
import { type Authority, shareAuthorities } from "./certificate-authorities.ts";
import type { KubeClient } from "./kube-client.ts";
import type { ObjectRef } from "./kube-object.ts";
import { trustBundle, type WebhookConfigurationRef } from "./webhook-trust.ts";

export interface ServingCertificateOptions {
  readonly client: KubeClient;
  /** Where the replicas share their authority. */
  readonly secret: ObjectRef;
  /** Names of the Service: "name.namespace.svc" is what the API server calls. */
  readonly dnsNames: readonly [string, ...string[]];
  /** For configurations that call an address rather than a Service, as when the webhook runs outside the cluster. */
  readonly ipAddresses?: readonly string[] | undefined;
  readonly webhooks: readonly WebhookConfigurationRef[];
  /** 365 and 1 when absent. */
  readonly authorityDays?: number | undefined;
  readonly leafDays?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly log: Log;
}

/** What a TLS server needs: fits `server.setSecureContext`. */
export type ServingIdentity = Required<Pick<SecureContextOptions, "cert" | "key">>;

export interface ServingCertificate {
  /** True while the current certificate is valid and signed by an authority that the webhook configurations trust. */
  isReady(): boolean;
  /** When the current certificate expires; undefined before the first. */
  notAfter(): Millis | undefined;
  /**
   * Calls the handler with the current certificate, if there is one, and with each that follows. The key's buffer is
   * valid only during the call; node:tls copies it.
   */
  onRotate(handler: (identity: ServingIdentity) => void): Disposable;
  /** Keeps certificate and trust current until the signal aborts. Never throws. */
  run(signal: AbortSignal): Promise<void>;
}

const LEAF_DAYS = 1;
const LEAF_DAYS_MIN = 1 / 24;
const AUTHORITY_DAYS_MIN = 2;
/** How often the Secret and the live configurations are looked at: bounds how long a caBundle that was overwritten hurts. */
const CHECK_MILLIS: Millis = 10_000;
const CHECK_UNREADY_MILLIS: Millis = 1000;
/** API servers see a changed configuration within about a second; every one of several gets this long. */
export const PROPAGATION_MILLIS: Millis = 30_000;
/** A leaf is replaced when this part of its life is left. */
const RENEW_PART_LEFT = 1 / 3;
const BACKOFF = { initialMillis: 1000, maxMillis: 30_000 };

/** Starts nothing before `run`. Throws `invalid_request` for lives so short that they would be renewed all the time. */
export function createServingCertificate(options: ServingCertificateOptions): ServingCertificate {
  const { authorityDays = AUTHORITY_DAYS_MIN, leafDays = LEAF_DAYS } = options;
  if (authorityDays < AUTHORITY_DAYS_MIN || leafDays < LEAF_DAYS_MIN || leafDays > authorityDays / 2)
    throw new CofferError(
      "invalid_request",
      "authorityDays must be at least 2, leafDays from an hour up to half of authorityDays",
    );
  return new Serving(options);
}

interface Leaf {
  readonly pair: CertificatePair;
  readonly facts: CertificateFacts;
  /** Fingerprint of the authority. */
  readonly signer: string;
}

class Serving implements ServingCertificate {
  readonly #options: ServingCertificateOptions;
  readonly #clock: Clock;
  readonly #handlers = new Set<(identity: ServingIdentity) => void>();
  #leaf: Leaf | undefined;
  /** Since when each authority has been seen trusted without a break. */
  #trustedSince: ReadonlyMap<string, Millis> = new Map();

  constructor(options: ServingCertificateOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  isReady(): boolean {
    const leaf = this.#leaf;
    return leaf !== undefined && leaf.facts.notAfter > this.#clock.now() && this.#trustedSince.has(leaf.signer);
  }
  notAfter(): Millis | undefined {
    return this.#leaf?.facts.notAfter;
  }
  onRotate(handler: (identity: ServingIdentity) => void): Disposable {
    this.#handlers.add(handler);
    if (this.#leaf !== undefined) handler(identityOf(this.#leaf));
    return { [Symbol.dispose]: () => void this.#handlers.delete(handler) };
  }

  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      let wait: Millis;
      try {
        await this.#check(signal);
        failures = 0;
        wait = this.isReady() ? CHECK_MILLIS : CHECK_UNREADY_MILLIS;
      } catch (error) {
        if (signal.aborted) return;
        wait = backoffMillis(BACKOFF, ++failures);
        this.#options.log.warn("cannot look after the webhook certificate", { error: messageOf(error) });
      }
      await this.#clock.sleep(wait, signal);
    }
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { client, secret, webhooks, dnsNames, authorityDays: days, log } = this.#options;
    const commonName = `${dnsNames[0].slice(0, 50)} webhook CA`;
    const authorities = await shareAuthorities({ client, secret, commonName, days, clock: this.#clock, log }, signal);
    using keys = new DisposableStack();
    for (const { pair } of authorities) keys.use(pair.privateKeyPem);
    const bundle = authorities.map(({ pair }) => pair.certificatePem).join("");
    this.#remember(await trustBundle(client, webhooks, bundle, signal));
    await this.#renewLeaf(this.#signerAmong(authorities));
  }

  #remember(trusted: ReadonlySet<string>): void {
    const now = this.#clock.now();
    this.#trustedSince = new Map([...trusted].map((one) => [one, this.#trustedSince.get(one) ?? now]));
  }

  /** The newest authority that everybody trusts by now; else one that is trusted at all; else the newest. */
  #signerAmong(authorities: readonly [Authority, ...Authority[]]): Authority {
    const trustedFor = ({ facts }: Authority) =>
      this.#clock.now() - (this.#trustedSince.get(facts.fingerprint) ?? Number.POSITIVE_INFINITY);
    const settled = authorities.find((authority) => trustedFor(authority) >= PROPAGATION_MILLIS);
    // Of those just seen trusted the oldest, which the API servers have known for longer.
    const seen = authorities.findLast((authority) => trustedFor(authority) >= 0);
    return settled ?? seen ?? authorities[0];
  }

  async #renewLeaf(signer: Authority): Promise<void> {
    const { dnsNames, ipAddresses = [], leafDays: days = LEAF_DAYS, log } = this.#options;
    const old = this.#leaf;
    if (old?.signer === signer.facts.fingerprint && !isOld(old.facts, this.#clock.now())) return;
    const commonName = dnsNames[0].slice(0, 64);
    const names = { commonName, dnsNames, ipAddresses };
    const pair = await issueServerCertificate(signer.pair, { ...names, days, clock: this.#clock });
    const leaf = { pair, facts: readCertificate(pair.certificatePem), signer: signer.facts.fingerprint };
    this.#leaf = leaf;
    for (const handler of this.#handlers) handler(identityOf(leaf));
    old?.pair.privateKeyPem[Symbol.dispose]();
    log.info("serving with a new certificate", { serial: leaf.facts.serial, authority: signer.facts.serial });
  }
}

function isOld({ notBefore, notAfter }: CertificateFacts, now: Millis): boolean {
  return notAfter - now < (notAfter - notBefore) * RENEW_PART_LEFT;
}

function identityOf({ pair }: Leaf): ServingIdentity {
  return { cert: pair.certificatePem, key: pair.privateKeyPem.expose() };
}
