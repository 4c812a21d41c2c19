// SSH, one-time passwords: a password for one login as one user on one host, which the host's helper has verified here.
// Signed certificates (roles of key type "ca") are not part of this engine; asking for one is refused.
import type { BackendType } from "../../framework/backend.ts";
import { credsPath, lookupPath, otpLease, verifyPath } from "./otp-paths.ts";
import { SEAL_WRAPPED } from "./records.ts";
import { rolePath, rolesPath, zeroAddressPath } from "./roles.ts";

export const sshType: BackendType = {
  type: "ssh",
  create: () => ({
    type: "ssh",
    summary: "One-time passwords for SSH logins.",
    sealWrapped: SEAL_WRAPPED,
    paths: [rolesPath, rolePath, credsPath, verifyPath, lookupPath, zeroAddressPath],
    leaseKinds: { otp: otpLease },
  }),
};
