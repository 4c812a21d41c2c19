// The secrets engines: one folder and one line each.
import type { BackendType } from "../framework/backend.ts";
import { cubbyholeType } from "./cubbyhole/cubbyhole.ts";
import { kvType } from "./kv/kv-type.ts";
import { sshType } from "./ssh/ssh.ts";

export const engineRegistry: readonly BackendType[] = [kvType, cubbyholeType, sshType];
