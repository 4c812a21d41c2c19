// Grants on keys (KMS API reference: CreateGrant, ListGrants, RevokeGrant). A new grant takes effect at once only for who
// brings its token, because KMS is eventually consistent: "usually less than five minutes".
import { randomBytes } from "node:crypto";
import { isJsonArray, isJsonObject, type JsonObject } from "#common/json.ts";
import type { AccessControl, Caller } from "./access.ts";
import { AwsError } from "./aws-error.ts";
import type { Operation } from "./json-service.ts";
import { encryptionContext, text, validation } from "./kms-input.ts";
import type { EncryptionContext, Key, KeyStore } from "./kms-keys.ts";

const SETTLE_MILLIS = 5 * 60 * 1000;

interface Grant {
  readonly id: string;
  readonly token: string;
  readonly keyArn: string;
  readonly grantee: string;
  readonly operations: readonly string[];
  readonly subset: EncryptionContext;
  readonly created: number;
}

export class Grants {
  readonly #now: () => number;
  readonly #grants = new Map<string, Grant>();
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether a grant that is effective for this request allows the action. */
  allow(input: JsonObject, caller: Caller, action: string, key: Key, context: EncryptionContext): boolean {
    const tokens = texts(input, "GrantTokens");
    return [...this.#grants.values()].some(
      (grant) =>
        grant.keyArn === key.arn &&
        grant.grantee === caller.arn &&
        grant.operations.includes(action) &&
        Object.entries(grant.subset).every(([name, value]) => context[name] === value) &&
        (tokens.includes(grant.token) || this.#now() - grant.created >= SETTLE_MILLIS),
    );
  }

  create(grant: Pick<Grant, "keyArn" | "grantee" | "operations" | "subset">): Grant {
    const [id, token] = [randomBytes(32).toString("hex"), randomBytes(96).toString("base64")];
    const made = { ...grant, id, token, created: this.#now() };
    this.#grants.set(id, made);
    return made;
  }

  of(key: Key): readonly Grant[] {
    return [...this.#grants.values()].filter(({ keyArn }) => keyArn === key.arn);
  }

  /** Throws NotFoundException. */
  revoke(key: Key, id: string): void {
    if (this.#grants.get(id)?.keyArn !== key.arn)
      throw new AwsError("NotFoundException", `Grant ID ${id} does not exist on the specified key`);
    this.#grants.delete(id);
  }
}

export function manageGrants(store: KeyStore, access: AccessControl, grants: Grants): Record<string, Operation> {
  const allowed = (action: string, input: JsonObject, caller: Caller): Key => {
    const key = store.resolve(text(input, "KeyId"));
    access.authorize(caller, `kms:${action}`, key.arn);
    return key;
  };
  return {
    CreateGrant: (input, caller) => {
      const key = allowed("CreateGrant", input, caller);
      const operations = texts(input, "Operations");
      if (operations.length === 0) throw validation("Operations must not be empty");
      const constraints = input["Constraints"];
      const subset = isJsonObject(constraints) ? encryptionContext(constraints, "EncryptionContextSubset") : {};
      const { id, token } = grants.create({
        keyArn: key.arn,
        grantee: text(input, "GranteePrincipal"),
        operations,
        subset,
      });
      return { GrantId: id, GrantToken: token };
    },
    ListGrants: (input, caller) => {
      const all = grants.of(allowed("ListGrants", input, caller));
      const rows = all.map(({ id, keyArn, grantee, operations, created }) => ({
        ...{ GrantId: id, KeyId: keyArn, GranteePrincipal: grantee, Operations: [...operations] },
        CreationDate: created / 1000,
      }));
      return { Grants: rows, Truncated: false };
    },
    RevokeGrant: (input, caller) => {
      grants.revoke(allowed("RevokeGrant", input, caller), text(input, "GrantId"));
      return {};
    },
  };
}

function texts(input: JsonObject, member: string): readonly string[] {
  const value = input[member] ?? [];
  if (isJsonArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new AwsError("SerializationException", `${member} must be a list of strings`);
}
