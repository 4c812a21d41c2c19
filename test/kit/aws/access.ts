// Who may do what at the responder: users with fixed keys, roles with sessions, and a small part of IAM's policy
// language: Allow and Deny, action and resource patterns with "*", and the encryption context as a condition.
import { randomBytes } from "node:crypto";
import { AuthError } from "./aws-error.ts";
import type { Credentials } from "./sigv4.ts";

/** One statement of an identity policy. A Deny that matches wins over every Allow. */
export interface Statement {
  readonly effect: "Allow" | "Deny";
  /** Patterns such as "kms:Encrypt" or "kms:*". */
  readonly actions: readonly string[];
  /** ARN patterns; all when absent. */
  readonly resources?: readonly string[];
  /** Members that the request's encryption context must have: kms:EncryptionContext:NAME. */
  readonly encryptionContext?: Readonly<Record<string, string>>;
}

export const ALLOW_ALL: readonly Statement[] = [{ effect: "Allow", actions: ["*"] }];

/** A user with an access key. */
export interface Principal {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** The user's name in its ARN. Default: "test". */
  readonly userName?: string;
  /** Default: everything is allowed. */
  readonly policy?: readonly Statement[];
}

/** A role that may be assumed. */
export interface Role {
  readonly name: string;
  /** Default: everything is allowed. */
  readonly policy?: readonly Statement[];
  /** ARN patterns of users and roles that may assume it. */
  readonly trustedPrincipals?: readonly string[];
  /** The condition sts:ExternalId of the trust policy. */
  readonly externalId?: string;
  /** Tokens of this issuer with a matching subject may assume it (AssumeRoleWithWebIdentity). */
  readonly webIdentity?: { readonly issuer: string; readonly subjects: readonly string[] };
}

/** Whoever signed a request. */
export interface Caller extends Credentials {
  readonly accessKeyId: string;
  readonly arn: string;
  readonly userId: string;
  /** The role's name, for sessions. */
  readonly role?: string | undefined;
}

/** A caller with what it is allowed. */
export class AccessControl {
  readonly #account: string;
  readonly #callers = new Map<string, Caller>();
  readonly #policies = new Map<string, readonly Statement[]>();
  readonly #roles = new Map<string, Role>();
  readonly #onSession: () => void;

  constructor(account: string, onSession: () => void) {
    this.#account = account;
    this.#onSession = onSession;
  }

  addPrincipal(principal: Principal): void {
    const name = principal.userName ?? "test";
    const arn = `arn:aws:iam::${this.#account}:user/${name}`;
    const { accessKeyId, secretAccessKey } = principal;
    this.#callers.set(accessKeyId, { accessKeyId, secretAccessKey, arn, userId: `AIDA${name.toUpperCase()}` });
    this.#policies.set(accessKeyId, principal.policy ?? ALLOW_ALL);
  }

  addRole(role: Role): void {
    this.#roles.set(role.name, role);
  }

  /** Replaces what a user's access key, or a role given by name, is allowed. */
  setPolicy(accessKeyOrRole: string, policy: readonly Statement[]): void {
    const role = this.#roles.get(accessKeyOrRole);
    if (role !== undefined) this.#roles.set(role.name, { ...role, policy });
    else if (this.#callers.has(accessKeyOrRole)) this.#policies.set(accessKeyOrRole, policy);
    else throw new Error(`there is neither an access key nor a role ${accessKeyOrRole}`);
  }

  /** Takes an access key away: its next request is that of an unknown key. */
  removePrincipal(accessKeyId: string): void {
    this.#callers.delete(accessKeyId);
  }

  find(accessKeyId: string): Caller | undefined {
    return this.#callers.get(accessKeyId);
  }

  findRole(arn: string): Role | undefined {
    const name = new RegExp(`^arn:aws:iam::${this.#account}:role/(.+)$`).exec(arn)?.[1];
    return name === undefined ? undefined : this.#roles.get(name);
  }

  /** New temporary credentials of a role. */
  openSession(role: Role, sessionName: string, expires: number) {
    const session = {
      accessKeyId: `ASIA${randomBytes(10).toString("hex").toUpperCase().slice(0, 16)}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      sessionToken: randomBytes(96).toString("base64"),
      expires,
      arn: `arn:aws:sts::${this.#account}:assumed-role/${role.name}/${sessionName}`,
      userId: `AROA${role.name.toUpperCase()}:${sessionName}`,
    };
    this.#callers.set(session.accessKeyId, { ...session, role: role.name });
    this.#onSession();
    return session;
  }

  sessions(): Caller[] {
    return [...this.#callers.values()].filter((caller) => caller.role !== undefined);
  }

  restoreSession(session: Caller): void {
    this.#callers.set(session.accessKeyId, session);
  }

  /** Throws AuthError "denied" unless the caller's policy allows it. */
  authorize(caller: Caller, action: string, resource: string, context: Readonly<Record<string, string>> = {}): void {
    const policy =
      caller.role === undefined
        ? this.#policies.get(caller.accessKeyId)
        : (this.#roles.get(caller.role)?.policy ?? ALLOW_ALL);
    const matching = (policy ?? []).filter((statement) => applies(statement, action, resource, context));
    if (matching.some(({ effect }) => effect === "Deny"))
      throw denial(caller, action, resource, "with an explicit deny in");
    if (matching.length === 0) throw denial(caller, action, resource, "because no identity-based policy allows it in");
  }
}

function denial(caller: Caller, action: string, resource: string, why: string): AuthError {
  return new AuthError(
    "denied",
    `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource} ${why} an identity-based policy`,
  );
}

function applies(
  { actions, resources = ["*"], encryptionContext = {} }: Statement,
  action: string,
  resource: string,
  context: Readonly<Record<string, string>>,
): boolean {
  return (
    actions.some((pattern) => matches(pattern, action)) &&
    resources.some((pattern) => matches(pattern, resource)) &&
    Object.entries(encryptionContext).every(([name, value]) => context[name] === value)
  );
}

/** Patterns of IAM: "*" is any run of characters. */
export function matches(pattern: string, text: string): boolean {
  return new RegExp(`^${pattern.split("*").map(RegExp.escape).join(".*")}$`).test(text);
}
