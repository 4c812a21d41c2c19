// AppRole: logins of machines by a role id and a secret id. records.ts has the layout of its storage.
import type { BackendType } from "../../framework/backend.ts";
import { loginPath } from "./login.ts";
import { SEAL_WRAPPED } from "./records.ts";
import { roleIdPath, rolePath, rolesPath } from "./role.ts";
import { roleFieldPaths } from "./role-fields.ts";
import {
  accessorDestroyPath,
  accessorLookupPath,
  customSecretIdPath,
  secretIdDestroyPath,
  secretIdLookupPath,
  secretIdsPath,
} from "./secret-ids.ts";
import { tidyPath } from "./tidy.ts";

export const approleType: BackendType = {
  type: "approle",
  create: () => ({
    type: "approle",
    summary: "Logins of machines by role id and secret id.",
    sealWrapped: SEAL_WRAPPED,
    paths: [
      loginPath,
      rolesPath,
      rolePath,
      roleIdPath,
      ...roleFieldPaths,
      secretIdsPath,
      customSecretIdPath,
      secretIdLookupPath,
      secretIdDestroyPath,
      accessorLookupPath,
      accessorDestroyPath,
      tidyPath,
    ],
  }),
};
