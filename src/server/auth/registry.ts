// The auth methods: one folder and one line each.
import type { BackendType } from "../framework/backend.ts";
import { approleType } from "./approle/approle.ts";
import { kubernetesType } from "./kubernetes/kubernetes.ts";
import { userpassType } from "./userpass/userpass.ts";

export const authRegistry: readonly BackendType[] = [approleType, userpassType, kubernetesType];
