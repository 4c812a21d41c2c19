import { expect, it } from "vitest";
import { secretKey } from "../identity/mfa/mfa-records.ts";
import { materialKey } from "../identity/oidc/oidc-records.ts";
import { isAlwaysCritical } from "./critical.ts";

it("names the keys that sign, salt and open, of every namespace, and nothing that only describes", () => {
  const critical = [
    "core/token-salt",
    "core/audit",
    "core/wrapping-key",
    "core/sealed-text-key",
    "core/ceremony/barrier",
  ];
  const ofIdentity = [materialKey("k"), secretKey("m", "e"), `ns/abc/${materialKey("k")}`];
  for (const key of [...critical, ...ofIdentity]) expect([key, isAlwaysCritical(key)]).toEqual([key, true]);
  const others = ["core/mount/kv", "core/sealwrap/keys", "identity/oidc/key/default", "mount/1/core/ceremony/x"];
  for (const key of others) expect([key, isAlwaysCritical(key)]).toEqual([key, false]);
});
