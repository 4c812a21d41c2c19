// `secrets list|enable|disable`.
import { disableCommand, enableCommand, listCommand, type MountKind } from "../mounts.ts";

const KIND: MountKind = {
  group: "secrets",
  path: "sys/mounts",
  noun: "secrets engine",
  article: "a",
  member: "config",
};

export const list = listCommand(KIND);
export const enable = enableCommand(KIND);
export const disable = disableCommand(KIND);
