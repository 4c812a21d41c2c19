// What a rotation policy may say. When it is due is the keyring's decision (keyring.ts).
import { CofferError } from "#common/errors.ts";
import { ENCRYPTIONS_CEILING, type RotationPolicy } from "./keyring.ts";

/** The least number of encryptions a term may be limited to: Vault's API has the same bound. */
export const ROTATION_ENCRYPTIONS_MIN = 1_000_000;
/** The shortest age at which keys may rotate by themselves, 24 h: Vault's API has the same bound. */
export const ROTATION_INTERVAL_MILLIS_MIN = 24 * 60 * 60 * 1000;

/** The soonest after its end at which a term may be given up by itself: a walk of everything is not done by the minute. */
export const RETIRE_AFTER_MILLIS_MIN = 60 * 60 * 1000;

/** Throws `invalid_request` for a policy outside the bounds. */
export function assertRotationPolicy(policy: RotationPolicy): void {
  const { max_encryptions, interval_millis, retire_after_millis } = policy;
  if (max_encryptions < ROTATION_ENCRYPTIONS_MIN || max_encryptions > ENCRYPTIONS_CEILING)
    throw new CofferError(
      "invalid_request",
      `max_operations must be from ${ROTATION_ENCRYPTIONS_MIN} to ${ENCRYPTIONS_CEILING}`,
    );
  if (interval_millis !== 0 && interval_millis < ROTATION_INTERVAL_MILLIS_MIN)
    throw new CofferError("invalid_request", "interval must be greater or equal to 24h0m0s, or 0 for never");
  if (retire_after_millis !== undefined && retire_after_millis < RETIRE_AFTER_MILLIS_MIN)
    throw new CofferError("invalid_request", "retire_after must be greater or equal to 1h0m0s, or 0 for never");
}
