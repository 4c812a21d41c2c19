// Every kind of thing that an import copies, in the order in which they need one another: mounts before what is in them,
// entities before their aliases and groups. A new kind is a file here and a line.
import { aliases, entities, groupMembers, groups } from "./identity-kinds.ts";
import type { ImportKind } from "./import-item.ts";
import { kv } from "./kv-kind.ts";
import { auth, mounts } from "./mount-kinds.ts";
import { policies } from "./policy-kind.ts";
import { approle, kubernetes, passwordPolicies, tokenRoles, userpass } from "./role-kinds.ts";

export const importKinds: readonly ImportKind[] = [
  mounts,
  auth,
  policies,
  passwordPolicies,
  approle,
  kubernetes,
  userpass,
  tokenRoles,
  entities,
  aliases,
  groups,
  groupMembers,
  kv,
];
