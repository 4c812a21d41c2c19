// Which kinds of seal there are: one line each.
import { CofferError } from "#common/errors.ts";
import { awsKmsSealType } from "./awskms/awskms-seal.ts";
import { pkcs11SealType } from "./pkcs11/pkcs11-seal.ts";
import type { SealType } from "./seal-types.ts";
import { shamirSealType } from "./shamir/shamir-seal.ts";
import { staticSealType } from "./static/static-seal.ts";
import { transitSealType } from "./transit/transit-seal.ts";

export const sealTypes: readonly SealType[] = [
  shamirSealType,
  staticSealType,
  awsKmsSealType,
  pkcs11SealType,
  transitSealType,
];

/** The kind of seal of that name. Throws `invalid_request` naming the known ones. */
export function findSealType(type: string): SealType {
  const found = sealTypes.find((known) => known.type === type);
  if (found !== undefined) return found;
  const names = sealTypes.map((known) => known.type).join(", ");
  throw new CofferError("invalid_request", `there is no seal type ${type}; the types are ${names}`);
}
