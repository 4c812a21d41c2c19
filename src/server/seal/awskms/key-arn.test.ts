// The ARN that is named when a ciphertext is opened.
import { expect, it } from "vitest";
import { keyInRegion } from "./key-arn.ts";

const MULTI = "mrk-1234abcd12ab34cd56ef1234567890ab";

it.each([
  [
    "a multi-region key",
    `arn:aws:kms:us-east-1:111122223333:key/${MULTI}`,
    `arn:aws:kms:eu-west-1:111122223333:key/${MULTI}`,
  ],
  [
    "one of this region",
    `arn:aws:kms:eu-west-1:111122223333:key/${MULTI}`,
    `arn:aws:kms:eu-west-1:111122223333:key/${MULTI}`,
  ],
  [
    "another partition",
    `arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/${MULTI}`,
    `arn:aws-us-gov:kms:eu-west-1:111122223333:key/${MULTI}`,
  ],
  ["a key of one region", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", undefined],
  ["an alias that looks like one", `arn:aws:kms:us-east-1:111122223333:alias/${MULTI}`, undefined],
  ["no ARN", MULTI, undefined],
])("%s", (_, stored, expected) => {
  expect(keyInRegion(stored, "eu-west-1")).toBe(expected ?? stored);
});
