// The controllers there are. A new one is one folder and one line here.
import type { ControllerType } from "./controller-type.ts";
import { secretBindingController } from "./secret-binding/act.ts";
import { unsealConfigController } from "./unseal-config/act.ts";
import { vaultClusterController } from "./vault-cluster/act.ts";

export const controllerTypes: readonly ControllerType[] = [
  unsealConfigController,
  vaultClusterController,
  secretBindingController,
];
