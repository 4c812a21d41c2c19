// What login MFA keeps, and under which keys.
//
//   identity/mfa/method/<id>                    Method
//   identity/mfa/method-name/<name>             Pointer to the method of a name
//   identity/mfa/enforcements                   all Enforcements in one record: every login reads it, and commits only
//                                               if it has not changed
//   identity/mfa/secret/<method id>/<entity id>    TotpSecret
//   identity/mfa/attempts/<method id>/<entity id>  Attempts
//   identity/mfa/login/<id>                     DeferredLogin: who has shown a password and not yet a code
//   identity/mfa/login-expiry/<time>/<id>       so that those who never come back go as well
import { boolean, type Infer, list, map, number, object, oneOf, optional, string } from "#common/schema.ts";
import { TOTP_ALGORITHMS } from "#common/totp.ts";
import { recordKind } from "../../barrier/transaction.ts";

const ROOT = "identity/mfa/";

const totpSettings = {
  issuer: string,
  algorithm: oneOf(...TOTP_ALGORITHMS),
  digits: number,
  periodSeconds: number,
  /** Periods before and after the present one whose codes are taken as well. */
  skew: number,
};

const methodSchema = object({
  ...totpSettings,
  id: string,
  name: string,
  keyBytes: number,
  /** Pixels of the QR code; 0 is none. */
  qrPixels: number,
  maxValidationAttempts: number,
});
export type Method = Infer<typeof methodSchema>;
export const methodKind = recordKind("MFA method", methodSchema, { cached: true });
export const methodPointerKind = recordKind("MFA method index", object({ id: string }), { cached: true });

/** Settings as they were when the user's app learnt the key: a method that changes later leaves it working. */
const secretSchema = object({ ...totpSettings, key: string });
export type TotpSecret = Infer<typeof secretSchema>;
export const secretKind = recordKind("TOTP secret", secretSchema);

const attemptsSchema = object({
  /** Checks begun since `sinceSeconds` of which none was good. */
  tries: number,
  sinceSeconds: number,
  /** The period whose code was taken last; neither it nor one before is taken again. */
  lastCounter: number,
});
export type Attempts = Infer<typeof attemptsSchema>;
export const attemptsKind = recordKind("MFA attempts", attemptsSchema);

const enforcementSchema = object({
  id: string,
  name: string,
  methodIds: list(string),
  mountAccessors: list(string),
  mountTypes: list(string),
  groupIds: list(string),
  entityIds: list(string),
});
export type Enforcement = Infer<typeof enforcementSchema>;
export const enforcementsKind = recordKind("MFA enforcements", object({ enforcements: list(enforcementSchema) }), {
  cached: true,
});

/** The Grant of framework/reply.ts: what the auth method said of the user. */
const grantSchema = object({
  displayName: string,
  policies: list(string),
  metadata: map(string),
  vouched: optional(map(string)),
  aliasName: string,
  groupNames: optional(list(string)),
  token: object({
    ttlSeconds: number,
    maxTtlSeconds: number,
    explicitMaxTtlSeconds: number,
    periodSeconds: number,
    numUses: number,
    type: oneOf("default", "service", "batch", "default-service", "default-batch"),
    noDefaultPolicy: boolean,
    boundCidrs: list(string),
    boundaryPolicies: list(string),
  }),
});

const deferredSchema = object({
  mountPath: string,
  mountUuid: string,
  /** Request path of the login. */
  path: string,
  entityId: string,
  grant: grantSchema,
  expiresAtSeconds: number,
});
export type DeferredLogin = Infer<typeof deferredSchema>;
export const deferredKind = recordKind("login awaiting MFA", deferredSchema);

export const METHOD_PREFIX = `${ROOT}method/`;
export const ENFORCEMENTS_KEY = `${ROOT}enforcements`;
export const LOGIN_EXPIRY_PREFIX = `${ROOT}login-expiry/`;
export const methodKey = (id: string): string => METHOD_PREFIX + encodeURIComponent(id);
export const methodNameKey = (name: string): string => `${ROOT}method-name/${encodeURIComponent(name)}`;
export const secretPrefix = (methodId: string): string => `${ROOT}secret/${encodeURIComponent(methodId)}/`;
export const secretKey = (methodId: string, entityId: string): string =>
  secretPrefix(methodId) + encodeURIComponent(entityId);
export const attemptsKey = (methodId: string, entityId: string): string =>
  `${ROOT}attempts/${encodeURIComponent(methodId)}/${encodeURIComponent(entityId)}`;
export const deferredKey = (id: string): string => `${ROOT}login/${encodeURIComponent(id)}`;
