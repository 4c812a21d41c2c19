// `audit list|enable|disable`.
import { disableCommand, enableCommand, listCommand, type MountKind } from "../mounts.ts";

const KIND: MountKind = { group: "audit", path: "sys/audit", noun: "audit device", article: "an", member: "options" };

export const list = listCommand(KIND);
export const enable = enableCommand(KIND);
export const disable = disableCommand(KIND);
