// The member `cloudhsm` of the pkcs11 stanza.
import { expect, it } from "vitest";
import type { JsonValue } from "#common/json.ts";
import { parseCloudHsmConfig } from "./cloudhsm-config.ts";

const parse = (member: JsonValue | undefined, variables: Record<string, string> = {}) =>
  parseCloudHsmConfig(member, (name) => variables[name]);
const least = { cluster_id: "cluster-abcdefg2345", region: "eu-central-1" };

it("is optional, and needs a cluster and a region", () => {
  expect(parse(undefined)).toBeUndefined();
  const plain = { clusterId: "cluster-abcdefg2345", region: "eu-central-1", backupMaxAgeMillis: 48 * 3_600_000 };
  expect(parse(least)).toMatchObject({ ...plain, credentials: { kind: "ambient" }, endpoint: undefined });
  expect(parse([least])).toMatchObject(plain);
  expect(parse({ cluster_id: "cluster-abcdefg2345" }, { AWS_REGION: "eu-central-1" })).toMatchObject(plain);
  expect(parse({ ...least, backup_max_age: "30h", role_arn: "arn:aws:iam::1:role/r" })).toMatchObject({
    ...{ backupMaxAgeMillis: 30 * 3_600_000, role: { arn: "arn:aws:iam::1:role/r", sessionName: "coffer" } },
  });
});

it.each<[JsonValue, string]>([
  [{ region: "r" }, "cluster_id"],
  [{ cluster_id: "c" }, "cloudhsm: region is missing: set it, or AWS_REGION"],
  [{ ...least, cluster_id: "a b" }, "cluster_id must be the id of a cluster"],
  [{ ...least, cluster_id: "a".repeat(65) }, "cluster_id must be the id of a cluster"],
  [{ ...least, endpoint: "here" }, "cloudhsm: endpoint must be a URL"],
  [{ ...least, backup_max_age: "soon" }, "backup_max_age must be a duration"],
  [{ ...least, backup_max_age: "0s" }, "backup_max_age must be a duration"],
  [{ ...least, pin: "x" }, "pin is no setting of it; it knows cluster_id"],
  [{ ...least, access_key: "a" }, "access_key and secret_key belong together"],
  [[least, least], "write one block"],
  ["cluster", "write one block"],
])("refuses %j", (member, message) => {
  expect(() => parse(member)).toThrow(message);
});
