// The auth methods: one folder and one line each.
import type { BackendType } from "../framework/backend.ts";
import { approleType } from "./approle/approle.ts";

export const authRegistry: readonly BackendType[] = [approleType];
