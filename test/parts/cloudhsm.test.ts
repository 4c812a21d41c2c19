// The CloudHSM control plane over the wire: AWS's SDK against the strict stand-in, and its reading side against moto.
import { CloudHSMV2Client, CreateClusterCommand } from "@aws-sdk/client-cloudhsm-v2";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { parseCloudHsmConfig } from "#server/seal/pkcs11/cloudhsm/cloudhsm-config.ts";
import { ControlPlane } from "#server/seal/pkcs11/cloudhsm/control-plane.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { type Moto, startMoto } from "#test/kit/moto.ts";

const HOUR = 3_600_000;
const READ_ONLY = [{ effect: "Allow", actions: ["cloudhsm:DescribeClusters", "cloudhsm:DescribeBackups"] }] as const;
let aws: AwsResponder;
const planes: ControlPlane[] = [];

beforeAll(async () => {
  aws = await startAwsResponder();
});
afterAll(() => aws.close());
afterEach(async () => {
  aws.faults.clear();
  await Promise.all(planes.splice(0).map((plane) => plane.close()));
});

function planeOf(clusterId: string, more: JsonObject = {}): ControlPlane {
  const member = {
    ...{ cluster_id: clusterId, region: aws.region, endpoint: aws.endpoint },
    ...{ access_key: aws.credentials.accessKeyId, secret_key: aws.credentials.secretAccessKey, ...more },
  };
  const config = parseCloudHsmConfig(member, () => undefined);
  if (config === undefined) throw new Error("there is a configuration");
  const plane = new ControlPlane(config, systemClock);
  planes.push(plane);
  return plane;
}

describe("looking at a cluster", () => {
  it("reads states, zones, retention and backups, the newest first, over several pages", async () => {
    const { id } = aws.hsm.addCluster(["eu-central-1a", "eu-central-1b"], { state: "DEGRADED", stateMessage: "why" });
    const now = systemClock.now();
    for (let i = 0; i < 120; i++) aws.hsm.addBackup(id, { created: now - (i + 1) * HOUR });
    aws.hsm.addBackup("cluster-other000000", { created: now });
    const look = await planeOf(id).look();
    expect(look.cluster).toMatchObject({
      ...{ id, state: "DEGRADED", stateMessage: "why", hsmType: "hsm1.medium", retentionDays: 90 },
      zones: ["eu-central-1a", "eu-central-1b"],
      hsms: [
        { zone: "eu-central-1a", state: "ACTIVE" },
        { zone: "eu-central-1b", state: "ACTIVE" },
      ],
    });
    expect(look.backups).toHaveLength(120);
    expect(look.backups[0]).toMatchObject({ state: "READY", clusterId: id });
    expect(Math.abs((look.backups[0]?.createdMillis ?? 0) - (now - HOUR))).toBeLessThan(1000);
  });

  it("needs two rights only", async () => {
    const { id } = aws.hsm.addCluster(["eu-central-1a"]);
    aws.addPrincipal({ accessKeyId: "AKIAREADREADREADREAD", secretAccessKey: "r", policy: READ_ONLY });
    const plane = planeOf(id, { access_key: "AKIAREADREADREADREAD", secret_key: "r" });
    await expect(plane.look()).resolves.toMatchObject({ cluster: { id } });
    const asked = { backupId: "backup-1", subnetIds: ["subnet-1"], hsmType: "hsm1.medium", retentionDays: undefined };
    await expect(plane.createCluster(asked)).rejects.toMatchObject({
      fault: "AccessDenied",
      message: expect.stringContaining("cloudhsm:CreateCluster"),
    });
  });

  it.each<[string, JsonObject, string, string, () => void]>([
    ["no such cluster", {}, "ClusterNotFound", "check cluster_id, region and account", () => {}],
    ["a wrong secret", { secret_key: "x" }, "CredentialsInvalid", "does not accept the credentials", () => {}],
    ["another region", { region: "us-east-1" }, "CredentialsInvalid", "InvalidSignatureException", () => {}],
    ["throttling", {}, "Throttled", "throttles requests", () => aws.faults.throttle(9)],
    [
      "errors",
      {},
      "Unreachable",
      "cannot be used",
      () => aws.faults.fail(9, { code: "CloudHsmInternalFailureException" }),
    ],
    [
      "a broken proxy",
      {},
      "Unreachable",
      "cannot be used",
      () => aws.faults.fail(9, { status: 502, code: "Whatever" }),
    ],
    ["nobody there", { endpoint: "http://127.0.0.1:1" }, "Unreachable", "ECONNREFUSED", () => {}],
    ["cut connections", {}, "Unreachable", "ECONNRESET", () => aws.faults.goDown()],
  ])("tells %s", async (_, more, fault, says, prepare) => {
    prepare();
    await expect(planeOf("cluster-missing0000", more).look()).rejects.toMatchObject({
      ...{ name: "ControlPlaneError", fault },
      message: expect.stringContaining(says),
    });
  });
});

describe("making a cluster from a backup", () => {
  it("creates the cluster in its subnets, then its HSMs", async () => {
    const old = aws.hsm.addCluster(["eu-central-1a"]);
    const backup = aws.hsm.addBackup(old.id);
    aws.hsm.subnets.set("subnet-aaaaaaaa", "eu-central-1a").set("subnet-bbbbbbbb", "eu-central-1b");
    const plane = planeOf(old.id);
    const subnetIds = ["subnet-aaaaaaaa", "subnet-bbbbbbbb"];
    const wanted = { backupId: backup.id, subnetIds, hsmType: "hsm1.medium", retentionDays: 30 };
    const made = await plane.createCluster(wanted);
    expect(made).toMatchObject({ state: "CREATE_IN_PROGRESS", sourceBackupId: backup.id, retentionDays: 30, hsms: [] });
    expect(made.zones).toEqual(["eu-central-1a", "eu-central-1b"]);
    await expect(plane.createHsm(made.id, "eu-central-1a")).rejects.toMatchObject({ fault: "InvalidRequest" });
    await plane.cluster(made.id);
    await plane.createHsm(made.id, "eu-central-1a");
    expect((await plane.cluster(made.id)).hsms).toMatchObject([{ zone: "eu-central-1a", state: "CREATE_IN_PROGRESS" }]);
    expect((await plane.cluster(made.id)).hsms).toMatchObject([{ zone: "eu-central-1a", state: "ACTIVE" }]);
    await expect(plane.createCluster({ ...wanted, backupId: "backup-none0000000" })).rejects.toMatchObject({
      fault: "ClusterNotFound",
    });
    await expect(plane.createCluster({ ...wanted, subnetIds: ["subnet-none"] })).rejects.toMatchObject({
      fault: "InvalidRequest",
      message: expect.stringContaining("does not exist"),
    });
  });
});

describe("against moto", () => {
  let moto: Moto | undefined;
  beforeAll(async () => {
    const started = await startMoto(process.env);
    if (!("unavailable" in started)) moto = started;
    else if (process.env["CI"] === "true") throw new Error(started.unavailable);
    else console.warn(`skipped: ${started.unavailable}`);
  });
  afterAll(() => moto?.close());

  it("reads a cluster without HSMs and its backup", async (test) => {
    if (moto === undefined) return test.skip();
    const keys = { access_key: "AKIAMOTOMOTOMOTO0000", secret_key: "moto" };
    const credentials = { accessKeyId: keys.access_key, secretAccessKey: keys.secret_key };
    const client = new CloudHSMV2Client({ region: aws.region, endpoint: moto.endpoint, credentials });
    const command = new CreateClusterCommand({ HsmType: "hsm1.medium", SubnetIds: ["subnet-12345678"] });
    const { Cluster } = await client.send(command);
    client.destroy();
    const none = planeOf("cluster-missing0000", { endpoint: moto.endpoint, ...keys });
    await expect(none.look()).rejects.toMatchObject({ fault: "ClusterNotFound" });
    const id = Cluster?.ClusterId ?? "";
    const look = await planeOf(id, { endpoint: moto.endpoint, ...keys }).look();
    // moto makes a backup of every cluster; its times are texts, of which the SDK makes something in 1970.
    expect(look).toMatchObject({ cluster: { id, hsmType: "hsm1.medium", hsms: [] }, backups: [{ clusterId: id }] });
  });
});
