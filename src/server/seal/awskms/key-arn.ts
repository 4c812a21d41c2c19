// Which key to name when a stored ciphertext is opened. Replicas of a multi-region key open what any of them wrapped, but
// KMS knows only the ARN of its own region: all parts of the ARNs of replicas are the same but the region
// (KMS Developer Guide, "Multi-Region keys": "mrk-" and the shared key ID).

const MULTI_REGION = /^(arn:[a-z-]+:kms:)([a-z0-9-]+)(:\d{12}:key\/mrk-[0-9a-f]{32})$/;

/** The stored key as KMS of that region knows it; keys of one region stay as they are. */
export function keyInRegion(keyId: string, region: string): string {
  const [, before, , after] = MULTI_REGION.exec(keyId) ?? [];
  return before === undefined || after === undefined ? keyId : `${before}${region}${after}`;
}
