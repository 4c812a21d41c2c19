// The Kubernetes auth method: pods log in by the token of their ServiceAccount, which the cluster's API server reviews.
import type { BackendType } from "../../framework/backend.ts";
import { createCallApi } from "./api-server.ts";
import { CONFIG_KEY, configPath } from "./config.ts";
import { loginPath } from "./login.ts";
import { rolePath, rolesPath } from "./role.ts";

export const kubernetesType: BackendType = {
  type: "kubernetes",
  create: (_options, host) => ({
    type: "kubernetes",
    summary: "Logins of pods by the token of their ServiceAccount.",
    sealWrapped: [CONFIG_KEY],
    paths: [loginPath(host, createCallApi()), configPath(host), rolesPath, rolePath],
  }),
};
