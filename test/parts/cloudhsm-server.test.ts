// A real server whose seal has a CloudHSM cluster behind it: the token through PKCS #11 with CloudHSM's manners, the cluster
// through the strict stand-in for AWS. Status and metrics tell of the cluster; sealing does not depend on it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createApiClient } from "#client/api-client.ts";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { type Machinery, readMachinery } from "#operator/servers/machinery.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { missingForSoftHsm, type SoftHsm, startSoftHsm } from "#test/kit/hsm/softhsm.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";

const PIN = "crypto-user:swordfish-1";
const missing = await missingForSoftHsm();

describe.skipIf(missing !== undefined && !process.env["CI"])("a server on CloudHSM", () => {
  let hsm: SoftHsm;
  let aws: AwsResponder;
  let folder: string;
  let config: string;
  beforeAll(async () => {
    if (missing !== undefined) throw new Error(missing);
    [hsm, aws, folder] = [
      await startSoftHsm(),
      await startAwsResponder(),
      await mkdtemp(join(tmpdir(), "coffer-chsm-")),
    ];
    await hsm.createToken("cloud", PIN);
    await writeFile(join(folder, "pin"), PIN);
    const { id } = aws.hsm.addCluster(["eu-central-1a"]);
    aws.hsm.addBackup(id, { created: systemClock.now() - 100 * 3_600_000 });
    config = await writeConfig(folder, {
      seal: {
        pkcs11: {
          ...{ name: "hsm", lib: hsm.cloudHsmLibrary, token_label: "cloud", key_label: "root", generate_key: true },
          ...{ pin_file: join(folder, "pin"), timeout: "60s" },
          cloudhsm: {
            ...{ cluster_id: id, region: aws.region, endpoint: aws.endpoint },
            ...{ access_key: aws.credentials.accessKeyId, secret_key: aws.credentials.secretAccessKey },
          },
        },
      },
    });
  });
  afterAll(async () => {
    await hsm?.[Symbol.asyncDispose]();
    await aws?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function machineryOf(server: RunningServer, isWanted: (found: Machinery) => boolean): Promise<Machinery> {
    using client = createApiClient({ address: server.address, clock: systemClock });
    for (;;) {
      const found = await readMachinery(client, AbortSignal.timeout(30_000));
      if (found !== undefined && isWanted(found)) return found;
      await systemClock.sleep(50);
    }
  }

  it("tells of its cluster in status, metrics and log, and unseals without AWS's API", async () => {
    const first = await startServer([`-config=${config}`]);
    const init = await fetch(`${first.address}/v1/sys/init`, {
      ...{ method: "POST", body: JSON.stringify({ recovery_shares: 1, recovery_threshold: 1 }) },
    });
    const made = parseJson(await init.text());
    const token = isJsonObject(made) ? String(made["root_token"]) : "";
    const found = await machineryOf(first, ({ state }) => state !== undefined);
    expect(found).toMatchObject({ state: "ACTIVE", active_hsms: 1, backup_count: 1 });
    expect(found.warnings.map(({ reason }) => reason)).toEqual(["OneHsmOnly", "StaleBackup"]);
    expect(first.output()).toContain("has one active HSM only");
    const metrics = await fetch(`${first.address}/v1/sys/metrics?format=prometheus`, {
      headers: { "x-vault-token": token },
    });
    const text = await metrics.text();
    expect(text).toMatch(/coffer_hsm_warnings\{seal="hsm"\} 2/);
    expect(text).toMatch(/coffer_hsm_active\{seal="hsm"\} 1/);
    expect(text).toMatch(/coffer_hsm_backup_age_seconds\{seal="hsm"\} 360\d{3}/);
    await first.stop();

    aws.faults.down = true;
    const second = await startServer([`-config=${config}`]);
    await untilUnsealed(second);
    const blind = await machineryOf(second, ({ error }) => error !== undefined);
    expect(blind).toMatchObject({ error: { reason: "Unreachable" }, warnings: [] });
    expect(second.output()).toContain("sealing does not need it");
    await second.stop();
    for (const server of [first, second]) expect(server.output()).not.toContain("swordfish");
  });
});
