// Kinds `mounts` and `auth`: engines and methods with their settings. Those whose keys no API gives back are named and
// left to the administrator.
import { isSame, planRecord, readOrNone } from "./compare-records.ts";
import { type Ends, type ImportKind, type Plan, skipped } from "./import-item.ts";
import { kvVersionOf, planMount, readMounts } from "./mount-tables.ts";

/** Every server has them by itself. */
const SYSTEM_TYPES = [
  "system",
  "identity",
  "cubbyhole",
  "ns_system",
  "ns_identity",
  "ns_cubbyhole",
  "ns_token",
  "token",
];
const CONFIG_FIELDS = ["max_versions", "cas_required", "delete_version_after"];
const AUTH_TYPES = ["approle", "kubernetes", "userpass"];

export const mounts: ImportKind = {
  name: "mounts",
  doc: "KV engines with their settings (tune) and those of KV version 2 (config).",
  async *items(ends) {
    const present = await readMounts(ends.target, "sys/mounts");
    for (const mount of (await readMounts(ends.source, "sys/mounts")).values()) {
      if (SYSTEM_TYPES.includes(mount.type)) continue;
      const version = kvVersionOf(mount);
      const { path } = mount;
      if (version === undefined) {
        const reason = `an engine of type ${mount.type}: its keys and passwords cannot be read; set it up anew`;
        yield { path, plan: skipped(reason) };
      } else yield { path, plan: async () => planMount(ends, "sys/mounts", mount, present.get(path)) };
      if (version === "2") yield { path: `${path}config`, plan: () => planConfig(ends, `${path}config`) };
    }
  },
};

/** Settings for all keys of a KV version 2 engine. */
async function planConfig(ends: Ends, path: string): Promise<Plan> {
  const [wanted, present] = [await readOrNone(ends.source, path), await readOrNone(ends.target, path)];
  if (wanted === undefined || (present === undefined && isSame(wanted, { delete_version_after: "0s" }, CONFIG_FIELDS)))
    return { action: "unchanged" };
  return planRecord({ wanted, present, fields: CONFIG_FIELDS, write: (body) => ends.target.write(path, body) });
}

export const auth: ImportKind = {
  name: "auth",
  doc: "Auth methods with their settings (tune): approle, kubernetes, userpass.",
  async *items(ends: Ends) {
    const present = await readMounts(ends.target, "sys/auth");
    for (const mount of (await readMounts(ends.source, "sys/auth")).values()) {
      if (SYSTEM_TYPES.includes(mount.type)) continue;
      const { path, type } = mount;
      if (AUTH_TYPES.includes(type))
        yield { path, plan: async () => planMount(ends, "sys/auth", mount, present.get(path)) };
      else
        yield { path, plan: skipped(`an auth method of type ${type}: its credentials cannot be read; set it up anew`) };
    }
  },
};
