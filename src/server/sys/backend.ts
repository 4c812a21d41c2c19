// The sys mount: an ordinary backend that is given privileged services.
import type { Backend } from "../framework/backend.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { auditPaths } from "./audit-paths.ts";
import { capabilityPaths } from "./capability-paths.ts";
import { configPaths } from "./config-paths.ts";
import { controlGroupPaths } from "./control-group-paths.ts";
import { counterPaths } from "./counter-paths.ts";
import { eventPaths } from "./event-paths.ts";
import { explainPaths } from "./explain-paths.ts";
import { generateRootPaths } from "./generate-root-paths.ts";
import { hostPaths } from "./host-paths.ts";
import { inspectPaths } from "./inspect-paths.ts";
import { internalPaths } from "./internal-paths.ts";
import { journalPaths } from "./journal-paths.ts";
import { leasePaths } from "./lease-paths.ts";
import { leaseTroublePaths } from "./lease-trouble-paths.ts";
import { lockedUserPaths } from "./locked-user-paths.ts";
import { metricsPaths } from "./metrics-paths.ts";
import { mfaPaths } from "./mfa-paths.ts";
import { monitorPaths } from "./monitor-paths.ts";
import { mountPaths } from "./mount-paths.ts";
import { namespacePaths } from "./namespace-paths.ts";
import { passwordPolicyPaths } from "./password-policy-paths.ts";
import { pluginPaths } from "./plugin-paths.ts";
import { policyPaths } from "./policy-paths.ts";
import { pprofPaths } from "./pprof-paths.ts";
import { quotaPaths } from "./quota-paths.ts";
import { rawPaths } from "./raw-paths.ts";
import { rekeyPaths } from "./rekey-paths.ts";
import { remountPaths } from "./remount-paths.ts";
import { markRootOnly } from "./root-only.ts";
import { rotationPaths } from "./rotation-paths.ts";
import { sealPaths } from "./seal-paths.ts";
import { sealWrapPaths } from "./seal-wrap-paths.ts";
import type { SysServices } from "./services.ts";
import { snapshotItemPaths } from "./snapshot-item-paths.ts";
import { snapshotPaths } from "./snapshot-paths.ts";
import { toolsPaths } from "./tools-paths.ts";
import { wrappingPaths } from "./wrapping-paths.ts";

export function sysBackend(services: SysServices): Backend<PrivilegedContext> {
  return {
    type: "system",
    summary: "The server itself: seal, mounts, policies, leases, audit.",
    paths: [
      ...sealPaths(services),
      ...rotationPaths(services),
      ...sealWrapPaths(services),
      ...mountPaths(services),
      ...policyPaths(services),
      ...passwordPolicyPaths(),
      ...capabilityPaths(services),
      ...auditPaths(services),
      ...leasePaths(services),
      ...leaseTroublePaths(services),
      ...journalPaths(services),
      ...lockedUserPaths(services),
      ...mfaPaths(services),
      ...explainPaths(services),
      ...wrappingPaths(services),
      ...toolsPaths(),
      ...remountPaths(services),
      ...quotaPaths(),
      ...rekeyPaths(services),
      ...generateRootPaths(services),
      ...pluginPaths(services),
      ...hostPaths(services),
      ...monitorPaths(services),
      ...(services.rawStorage ? rawPaths() : []),
      ...(services.introspection ? inspectPaths() : []),
      ...pprofPaths(services),
      ...snapshotPaths(services),
      ...snapshotItemPaths(services),
      ...metricsPaths(services),
      ...configPaths(services),
      ...counterPaths(),
      ...internalPaths(services),
      ...namespacePaths(),
      ...eventPaths(services),
      ...controlGroupPaths(services),
    ].map(markRootOnly),
  };
}
