import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { asKubeObject } from "#kube/kube-object.ts";
import type { Change, Reflector } from "#kube/reflector.ts";
import { resourceKind } from "#operator/api/resource.ts";
import { secretBinding } from "#operator/api/secret-binding.ts";
import { vaultCluster } from "#operator/api/vault-cluster.ts";
import { createCatalog } from "./catalog.ts";

/** A reflector whose changes the test makes. */
function scripted(kind: Reflector["kind"]) {
  const handlers = new Set<(change: Change) => void>();
  const reflector: Reflector = {
    kind,
    get: () => undefined,
    list: () => [],
    isSynced: () => true,
    whenSynced: async () => {},
    silentMillis: () => 0,
    onChange(handler) {
      handlers.add(handler);
      return { [Symbol.dispose]: () => handlers.delete(handler) };
    },
    run: async () => {},
  };
  const change = (type: Change["type"], namespace: string, name: string, spec: JsonObject) => {
    const object = asKubeObject({ metadata: { name, namespace }, spec }, kind);
    for (const handler of handlers) handler({ type, object, initial: false });
  };
  return { reflector, change, handlers };
}

describe("the catalog", () => {
  const start = () => {
    const bindings = scripted(resourceKind(secretBinding));
    const clusters = scripted(resourceKind(vaultCluster));
    const catalog = createCatalog({ bindings: bindings.reflector, clusters: clusters.reflector, log: silentLog });
    const names = (namespace: string) => catalog.surroundings(namespace).bindings.map((b) => b.metadata.name);
    return { bindings, clusters, catalog, names };
  };
  const good: JsonObject = { path: "secret/team/db", files: [{ path: "a" }] };

  it("knows the bindings of each namespace, and all clusters", () => {
    const { bindings, clusters, catalog, names } = start();
    bindings.change("added", "team", "db", good);
    bindings.change("added", "other", "db", good);
    clusters.change("added", "coffer-system", "main", { unsealConfigRef: { name: "kms" } });
    expect([names("team"), names("none")]).toEqual([["db"], []]);
    expect(catalog.surroundings("none").clusters.map((c) => c.metadata.name)).toEqual(["main"]);
    bindings.change("deleted", "team", "db", good);
    expect([names("team"), names("other")]).toEqual([[], ["db"]]);
  });

  it("forgets an object that it can no longer read", () => {
    const { bindings, names } = start();
    bindings.change("added", "team", "db", good);
    bindings.change("modified", "team", "db", { files: "none" });
    expect(names("team")).toEqual([]);
  });

  it("lets go of the reflectors", () => {
    const { bindings, clusters, catalog } = start();
    catalog[Symbol.dispose]();
    expect(bindings.handlers.size + clusters.handlers.size).toBe(0);
  });
});
