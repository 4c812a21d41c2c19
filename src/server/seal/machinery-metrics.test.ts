// The metrics of HSMs behind seals.
import { expect, it } from "vitest";
import { createMetrics } from "#common/metrics.ts";
import { declareMachineryMetrics } from "./machinery-metrics.ts";

it("shows what the last look found, and no age without a backup", () => {
  const metrics = createMetrics();
  const note = declareMachineryMetrics(metrics);
  note({ seal: "hsm", warnings: 2, isKnown: true, active: 1, backupAgeMillis: 90_000 });
  const shown = metrics.render();
  expect(shown).toContain('coffer_hsm_cluster_known{seal="hsm"} 1');
  expect(shown).toContain('coffer_hsm_warnings{seal="hsm"} 2');
  expect(shown).toContain('coffer_hsm_active{seal="hsm"} 1');
  expect(shown).toContain('coffer_hsm_backup_age_seconds{seal="hsm"} 90');
  note({ seal: "hsm", warnings: 2, isKnown: false, active: undefined, backupAgeMillis: undefined });
  expect(metrics.render()).toContain('coffer_hsm_cluster_known{seal="hsm"} 0');
  expect(metrics.render()).not.toContain("coffer_hsm_backup_age_seconds{");
});
