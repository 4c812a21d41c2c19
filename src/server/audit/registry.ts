// The kinds of audit devices, a line each.
import type { AuditDeviceType } from "./audit-device.ts";
import { fileAuditDevice } from "./file/file-device.ts";
import { httpAuditDevice } from "./http/http-device.ts";
import { socketAuditDevice } from "./socket/socket-device.ts";
import { syslogAuditDevice } from "./syslog/syslog-device.ts";

export const auditRegistry: readonly AuditDeviceType[] = [
  fileAuditDevice,
  httpAuditDevice,
  socketAuditDevice,
  syslogAuditDevice,
];
