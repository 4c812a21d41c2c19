// KMS operations on keys as things: creating, describing, disabling, deleting, rotating (KMS API reference).
import type { JsonObject } from "#common/json.ts";
import type { AccessControl, Caller } from "./access.ts";
import { AwsError } from "./aws-error.ts";
import type { Operation } from "./json-service.ts";
import { integer, optionalText, text } from "./kms-input.ts";
import type { Key, KeyStore } from "./kms-keys.ts";

/** "If you do not include a value, it defaults to 30." */
const DELETION_DAYS_DEFAULT = 30;
/** "You can perform on-demand rotation ... a maximum of 25 times per KMS key" */
const ON_DEMAND_ROTATIONS_MAX = 25;

export function manageKeys(store: KeyStore, access: AccessControl, account: string): Record<string, Operation> {
  const allowed = (action: string, input: JsonObject, caller: Caller): Key => {
    const key = store.resolve(text(input, "KeyId"));
    access.authorize(caller, `kms:${action}`, key.arn);
    return key;
  };
  return { ...life(store, access, account, allowed), ...deletion(store, allowed), ...rotation(store, allowed) };
}

type Allowed = (action: string, input: JsonObject, caller: Caller) => Key;

function life(store: KeyStore, access: AccessControl, account: string, allowed: Allowed): Record<string, Operation> {
  return {
    CreateKey: (input, caller) => {
      access.authorize(caller, "kms:CreateKey", "*");
      for (const [member, only] of [
        ["KeySpec", "SYMMETRIC_DEFAULT"],
        ["KeyUsage", "ENCRYPT_DECRYPT"],
        ["Origin", "AWS_KMS"],
      ] as const)
        if ((optionalText(input, member) ?? only) !== only)
          throw new AwsError("UnsupportedOperationException", `this responder makes keys with ${member} ${only} only`);
      const key = store.create(optionalText(input, "Description"), input["MultiRegion"] === true);
      return { KeyMetadata: describe(key, account) };
    },
    DescribeKey: (input, caller) => ({ KeyMetadata: describe(allowed("DescribeKey", input, caller), account) }),
    ListKeys: (_input, caller) => {
      access.authorize(caller, "kms:ListKeys", "*");
      return { Keys: [...store.keys.values()].map(({ id, arn }) => ({ KeyId: id, KeyArn: arn })), Truncated: false };
    },
    EnableKey: (input, caller) => {
      store.setState(notPendingDeletion(allowed("EnableKey", input, caller)), "Enabled");
      return {};
    },
    DisableKey: (input, caller) => {
      store.setState(notPendingDeletion(allowed("DisableKey", input, caller)), "Disabled");
      return {};
    },
  };
}

function deletion(store: KeyStore, allowed: Allowed): Record<string, Operation> {
  return {
    ScheduleKeyDeletion: (input, caller) => {
      const key = notPendingDeletion(allowed("ScheduleKeyDeletion", input, caller));
      const days = integer(input, "PendingWindowInDays", { from: 7, to: 30 }) ?? DELETION_DAYS_DEFAULT;
      const at = store.scheduleDeletion(key, days);
      return { KeyId: key.arn, DeletionDate: at / 1000, KeyState: key.state, PendingWindowInDays: days };
    },
    CancelKeyDeletion: (input, caller) => {
      const key = allowed("CancelKeyDeletion", input, caller);
      if (key.state !== "PendingDeletion")
        throw new AwsError("KMSInvalidStateException", `${key.arn} is not pending deletion.`);
      // "When you cancel deletion, the key state is Disabled."
      store.setState(key, "Disabled");
      return { KeyId: key.arn };
    },
  };
}

function rotation(store: KeyStore, allowed: Allowed): Record<string, Operation> {
  return {
    RotateKeyOnDemand: (input, caller) => {
      const key = enabled(allowed("RotateKeyOnDemand", input, caller));
      if (key.rotations.length >= ON_DEMAND_ROTATIONS_MAX)
        throw new AwsError(
          "LimitExceededException",
          "The on-demand rotations limit has been reached for the given keyId.",
        );
      store.rotate(key);
      return { KeyId: key.arn };
    },
    GetKeyRotationStatus: (input, caller) => {
      const key = allowed("GetKeyRotationStatus", input, caller);
      return { KeyId: key.arn, KeyRotationEnabled: key.rotationEnabled, RotationPeriodInDays: 365 };
    },
    EnableKeyRotation: (input, caller) => {
      store.enableRotation(enabled(allowed("EnableKeyRotation", input, caller)), true);
      return {};
    },
    DisableKeyRotation: (input, caller) => {
      store.enableRotation(enabled(allowed("DisableKeyRotation", input, caller)), false);
      return {};
    },
    ListKeyRotations: (input, caller) => {
      const key = allowed("ListKeyRotations", input, caller);
      const rotations = key.rotations.map(({ at, type }) => ({
        KeyId: key.arn,
        RotationDate: at / 1000,
        RotationType: type,
      }));
      return { Rotations: rotations, Truncated: false };
    },
  };
}

function notPendingDeletion(key: Key): Key {
  if (key.state !== "PendingDeletion") return key;
  throw new AwsError("KMSInvalidStateException", `${key.arn} is pending deletion.`);
}

function enabled(key: Key): Key {
  if (notPendingDeletion(key).state === "Enabled") return key;
  throw new AwsError("DisabledException", `${key.arn} is disabled.`);
}

function describe(key: Key, account: string): JsonObject {
  return {
    AWSAccountId: account,
    KeyId: key.id,
    Arn: key.arn,
    CreationDate: key.created / 1000,
    Enabled: key.state === "Enabled",
    Description: key.description,
    KeyUsage: "ENCRYPT_DECRYPT",
    KeyState: key.state,
    Origin: "AWS_KMS",
    KeyManager: "CUSTOMER",
    CustomerMasterKeySpec: "SYMMETRIC_DEFAULT",
    KeySpec: "SYMMETRIC_DEFAULT",
    EncryptionAlgorithms: ["SYMMETRIC_DEFAULT"],
    MultiRegion: key.primary !== undefined,
    ...(key.primary !== undefined && {
      MultiRegionConfiguration: {
        MultiRegionKeyType: key.primary === key.arn ? "PRIMARY" : "REPLICA",
        PrimaryKey: { Arn: key.primary, Region: key.primary.split(":")[3] ?? "" },
      },
    }),
    ...(key.deletion === undefined ? {} : { DeletionDate: key.deletion / 1000 }),
  };
}
