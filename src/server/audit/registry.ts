// The kinds of audit devices, a line each.
import type { AuditDeviceType } from "./audit-device.ts";
import { fileAuditDevice } from "./file/file-device.ts";

export const auditRegistry: readonly AuditDeviceType[] = [fileAuditDevice];
