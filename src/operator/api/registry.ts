// The kinds there are. A new kind is one file and one line here.
import type { Definition } from "./resource.ts";
import { secretBinding } from "./secret-binding.ts";
import { unsealConfig } from "./unseal-config.ts";
import { vaultCluster } from "./vault-cluster.ts";

export const definitions: readonly Definition<unknown, unknown>[] = [vaultCluster, unsealConfig, secretBinding];
