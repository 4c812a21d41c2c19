// The registry's line for KV: the mount option "version" chooses between two backends that share nothing, their
// storage included.
import { CofferError } from "#common/errors.ts";
import type { BackendType } from "../../framework/backend.ts";
import { createKvV1 } from "./v1.ts";
import { createKvV2 } from "./v2.ts";

export const kvType: BackendType = {
  type: "kv",
  create(options) {
    const version = options["version"] ?? "1";
    if (version === "1") return createKvV1();
    if (version === "2") return createKvV2();
    throw new CofferError("invalid_request", `option "version" of a kv mount must be "1" or "2", not "${version}"`);
  },
};
