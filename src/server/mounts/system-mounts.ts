// The mounts that every namespace has from its beginning, and of which there is one each.
import type { NewMount } from "./mount-table.ts";

export const SYSTEM_MOUNTS: readonly NewMount[] = [
  { path: "sys/", type: "system", description: "system endpoints used for control, policy and debugging" },
  { path: "identity/", type: "identity", description: "identity store" },
  { path: "cubbyhole/", type: "cubbyhole", description: "per-token private secret storage", local: true },
  { path: "auth/token/", type: "token", description: "token based credentials" },
];
