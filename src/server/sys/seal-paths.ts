// sys: initialise, seal, unseal, and the states that anyone may ask for.

import { CofferError } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { encryptTo, readRecipients, sealShares } from "../ceremony/pgp.ts";
import { SHARES_MAX } from "../core/node.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import { SealError } from "../seal/seal.ts";
import type { SysServices } from "./services.ts";
import { health, type StatusServices, sealBackendStatus, sealStatus } from "./status.ts";

const HEALTH_CODES = { active: ["activecode", 200], sealed: ["sealedcode", 503], uninit: ["uninitcode", 501] } as const;

export function sealPaths(services: SysServices) {
  return [
    definePrivilegedPath("init", {
      summary: "Whether the server is initialised; initialises it.",
      access: "public",
      when: "always",
      fields: {
        secret_shares: withDefault(field.integer("Shares to split the unseal key into."), 0),
        secret_threshold: withDefault(field.integer("Shares needed to unseal."), 0),
        recovery_shares: withDefault(
          field.integer("Shares of the recovery key (servers that unseal by themselves)."),
          0,
        ),
        recovery_threshold: withDefault(field.integer("Recovery shares needed."), 0),
        pgp_keys: withDefault(field.list("PGP public keys, one for each share of the unseal key."), []),
        recovery_pgp_keys: withDefault(field.list("PGP public keys, one for each share of the recovery key."), []),
        root_token_pgp_key: withDefault(field.text("PGP public key to encrypt the root token to."), ""),
        stored_shares: field.integer("Kept for old clients; must be 1 if set."),
      },
      operations: {
        read: {
          summary: "Whether it is initialised.",
          handler: async () => ({ bare: { initialized: (await services.node.refresh()) !== "uninitialised" } }),
        },
        update: { summary: "Initialise.", handler: (_context, values) => initialise(services, values) },
      },
    }),
    definePrivilegedPath("seal-status", {
      summary: "Whether the server is sealed, and why.",
      access: "public",
      when: "always",
      operations: { read: { summary: "Show it.", handler: async () => ({ bare: await sealStatus(services) }) } },
    }),
    definePrivilegedPath("seal-backend-status", {
      summary: "Which seals can open the store, and by what they hold its keys.",
      access: "public",
      when: "always",
      operations: { read: { summary: "Show it.", handler: async () => ({ bare: await sealBackendStatus(services) }) } },
    }),
    unsealPath(services),
    definePrivilegedPath("health", {
      summary: "The node's state as an HTTP status, for load balancers and probes.",
      access: "public",
      when: "always",
      operations: { read: { summary: "Show it.", handler: (context) => healthReply(services, context.query) } },
    }),
    definePrivilegedPath("leader", {
      summary: "Every node is active: there is no leader to name.",
      access: "public",
      when: "always",
      operations: { read: { summary: "Show it.", handler: () => ({ bare: { ha_enabled: false } }) } },
    }),
    definePrivilegedPath("seal", {
      summary: "Seals this node, all its worker processes.",
      access: "sudo",
      operations: {
        update: {
          summary: "Seal.",
          handler: () => ({ afterwards: () => services.node.seal() }),
        },
      },
    }),
  ];
}

export function unsealPath(services: StatusServices) {
  return definePrivilegedPath("unseal", {
    summary: "Takes one share of the unseal key.",
    access: "public",
    when: "always",
    fields: {
      key: withDefault(field.text("A share, hex or base64."), ""),
      reset: withDefault(field.flag("Forget the shares entered so far."), false),
      migrate: withDefault(field.flag("The share is for a change of seals that the configuration asks for."), false),
    },
    operations: {
      update: { summary: "Enter a share.", handler: (_context, values) => unseal(services, values) },
    },
  });
}

type InitValues = {
  secret_shares: number;
  secret_threshold: number;
  recovery_shares: number;
  recovery_threshold: number;
  pgp_keys: readonly string[];
  recovery_pgp_keys: readonly string[];
  root_token_pgp_key: string;
};

async function initialise(services: SysServices, values: InitValues): Promise<Reply> {
  if ((await services.node.refresh()) !== "uninitialised")
    throw new CofferError("invalid_request", "Vault is already initialized");
  const auto = services.node.isAutoSeal;
  assertShares(
    auto ? "recovery" : "secret",
    auto ? values.recovery_shares : values.secret_shares,
    auto ? values.recovery_threshold : values.secret_threshold,
    auto,
  );
  const recipients = await initRecipients(services, values);
  let rootToken = "";
  const initializing = services.node.initialize({
    shares: values.secret_shares,
    threshold: values.secret_threshold,
    recoveryShares: values.recovery_shares,
    recoveryThreshold: values.recovery_threshold,
    handOut: (shares, of) => sealShares(shares, recipients[of], recipients.now),
    fill: async (tx) => {
      await services.initial.write(tx);
      const token = await services.initial.writeRootToken(tx);
      const [recipient] = recipients.root;
      rootToken = recipient ? (await encryptTo(recipient, token, recipients.now)).toString("base64") : token;
    },
  });
  const made = await initializing.catch(explainSeal);
  const keys = {
    keys: made.keys.map((key) => key.toString("hex")),
    keys_base64: made.keys.map((key) => key.toString("base64")),
  };
  const recovery = {
    recovery_keys: made.recoveryKeys.map((key) => key.toString("hex")),
    recovery_keys_base64: made.recoveryKeys.map((key) => key.toString("base64")),
  };
  return { bare: { ...keys, ...(auto && recovery), root_token: rootToken } };
}

/** What keeps a seal from wrapping is for whoever initialises to repair, so they are told. */
function explainSeal(error: unknown): never {
  if (!(error instanceof SealError)) throw error;
  throw new CofferError("unavailable", `not initialised: ${error.message}`, { cause: error });
}

/** Whom the keys and the root token are encrypted to. Throws `invalid_request`. */
async function initRecipients({ node, clock }: SysServices, values: InitValues) {
  const now = clock.now();
  if (node.isAutoSeal && values.pgp_keys.length > 0)
    throw new CofferError("invalid_request", "this server unseals by itself: give recovery_pgp_keys, not pgp_keys");
  if (!node.isAutoSeal && values.recovery_pgp_keys.length > 0)
    throw new CofferError("invalid_request", "this server is unsealed by shares: give pgp_keys, not recovery_pgp_keys");
  const root = values.root_token_pgp_key === "" ? [] : [values.root_token_pgp_key];
  return {
    now,
    unseal: await readRecipients("pgp_keys", values.pgp_keys, { count: values.secret_shares, now }),
    recovery: await readRecipients("recovery_pgp_keys", values.recovery_pgp_keys, {
      count: values.recovery_shares,
      now,
    }),
    root: await readRecipients("root_token_pgp_key", root, { count: 1, now }),
  };
}

function assertShares(kind: "secret" | "recovery", shares: number, threshold: number, mayBeNone: boolean): void {
  const wrong = (message: string): never => {
    throw new CofferError("invalid_request", message);
  };
  if (mayBeNone && shares === 0 && threshold === 0) return;
  if (shares < 1 || shares > SHARES_MAX) wrong(`${kind}_shares must be from 1 to ${SHARES_MAX}`);
  if (threshold < 1 || threshold > shares) wrong(`${kind}_threshold must be from 1 to ${kind}_shares`);
  if (shares > 1 && threshold === 1) wrong(`${kind}_threshold must be greater than 1 when there are several shares`);
}

async function unseal(
  services: StatusServices,
  { key, reset, migrate }: { key: string; reset: boolean; migrate: boolean },
): Promise<Reply> {
  const { node } = services;
  if (reset) {
    if ((await node.refresh()) === "unsealed" && !node.migration)
      throw new CofferError("invalid_request", "vault is unsealed");
    await node.resetShares();
    return { bare: await sealStatus(services) };
  }
  if (key === "")
    throw new CofferError("invalid_request", "'key' must be specified in request body as JSON, or 'reset' set to true");
  using share = new SecretBytes(decodeShare(key));
  await node.submitShare(share.clone(), migrate);
  return { bare: await sealStatus(services) };
}

/** A share is a key of 32 bytes with or without its x coordinate. */
const SHARE_BYTES_MIN = 16;
const SHARE_TEXT_MAX = 256;

/** Throws `invalid_request` for what cannot be a share. */
export function decodeShare(text: string): Buffer {
  if (text.length > SHARE_TEXT_MAX) throw new CofferError("invalid_request", "'key' is too long to be a share");
  const isHex = /^([0-9a-fA-F]{2})+$/.test(text);
  const isBase64 = /^[A-Za-z0-9+/_-]+={0,2}$/.test(text);
  if (!isHex && !isBase64) throw new CofferError("invalid_request", "'key' must be a valid hex or base64 string");
  const bytes = Buffer.from(text, isHex ? "hex" : "base64");
  if (bytes.length < SHARE_BYTES_MIN)
    throw new CofferError("invalid_request", `invalid key: key is shorter than minimum ${SHARE_BYTES_MIN} bytes`);
  return bytes;
}

async function healthReply(services: SysServices, query: { readonly [key: string]: unknown }): Promise<Reply> {
  const { body, kind } = await health(services);
  const [parameter, fallback] = HEALTH_CODES[kind];
  const sent = query[parameter];
  if (sent === undefined) return { bare: body, status: fallback };
  const status = Number(sent);
  if (!Number.isInteger(status) || status < 200 || status > 599) throw new CofferError("invalid_request", "");
  return { bare: body, status };
}
