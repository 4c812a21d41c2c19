// What a real API server takes and refuses of our kinds, without a node: the table that the end-to-end test also runs.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { isKubeError } from "#kube/kube-error.ts";
import { definitions } from "#operator/api/registry.ts";
import { resourceKind } from "#operator/api/resource.ts";
import { type CrdCase, crdCases } from "#test/e2e/crd-cases.ts";
import { findKubePrograms, type KubeApi, startKubeApi } from "#test/kit/kube-api.ts";

const programs = findKubePrograms(process.env);

describe.skipIf(programs === undefined)("kinds on a real API server", () => {
  let api: KubeApi;
  beforeAll(async () => {
    api = await startKubeApi(programs ?? "");
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  /** As kubectl create and edit do: strict, so that a member that does not exist is an error. */
  const send = async (one: CrdCase, name: string, spec: JsonObject, update: boolean): Promise<string> => {
    const definition = definitions.find(({ kind }) => kind === one.kind);
    if (definition === undefined) throw new Error(`no definition of ${one.kind}`);
    const { group, version, plural, kind } = resourceKind(definition);
    const path = `/apis/${group}/${version}/namespaces/default/${plural}`;
    const body = { apiVersion: `${group}/${version}`, kind, metadata: { name, namespace: "default" }, spec };
    const query = { fieldValidation: "Strict" };
    try {
      if (update) {
        const now = await api.client.get(resourceKind(definition), { namespace: "default", name });
        await api.client.request("PUT", `${path}/${name}`, { ...now, spec }, { query });
      } else await api.client.request("POST", path, body, { query });
      return "accepted";
    } catch (error) {
      if (isKubeError(error)) return error.message;
      throw error;
    }
  };

  it.each(crdCases.map((one, i) => [one.name, one, i] as const))("%s", async (_, one, i) => {
    const name = one.objectName ?? `case-${i}`;
    if (one.before !== undefined) expect(await send(one, name, one.before, false)).toBe("accepted");
    const answer = await send(one, name, one.spec, one.before !== undefined);
    if (one.refusal === undefined) expect(answer).toBe("accepted");
    else expect(answer).toContain(one.refusal);
  });

  it("takes a short Kubernetes Secret as often as it is applied", async () => {
    const kind = {
      group: "coffer.dev",
      version: "v1alpha1",
      plural: "secretbindings",
      kind: "SecretBinding",
      namespaced: true,
    };
    for (const path of ["secret/team/a", "secret/team/a", "secret/team/b"])
      await api.client.apply(kind, { metadata: { namespace: "default", name: "again" }, spec: { path, secret: {} } });
  });
});
