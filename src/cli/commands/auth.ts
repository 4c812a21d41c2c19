// `auth list|enable|disable`.
import { disableCommand, enableCommand, listCommand, type MountKind } from "../mounts.ts";

const KIND: MountKind = { group: "auth", path: "sys/auth", noun: "auth method", article: "an", member: "config" };

export const list = listCommand(KIND);
export const enable = enableCommand(KIND);
export const disable = disableCommand(KIND);
