// SecretBindings that keep Kubernetes Secrets: the operator as a process with the chart's rights, a real API server, a real
// server.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findKubePrograms } from "#test/kit/kube-api.ts";
import { conditionOf, type OperatorProcess, startWorld, until, type World } from "#test/operator/world.ts";
import { findHelm } from "#test/parts/helm.ts";

const programs = findHelm(process.env) === undefined ? undefined : findKubePrograms(process.env);

describe.skipIf(programs === undefined)("a Kubernetes Secret that a binding keeps", () => {
  let world: World;
  let operator: OperatorProcess;
  beforeAll(async () => {
    world = await startWorld(programs ?? "", { operator: { secretNamespaces: ["team"] } });
    await world.namespace("team");
    operator = await world.startOperator();
  });
  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  const ready = (name: string, expected = "True Synced", type = "Ready") =>
    until(`${name} is ${expected}`, async () => {
      const found = conditionOf(await world.binding("team", name), type);
      return found === expected || `${found}\n${operator.output().slice(-2000)}`;
    });

  it("holds every key of a secret", async () => {
    await world.admin.write("secret/data/team/db", { data: { user: "u", password: "p" } });
    await world.bind("team", "db", { path: "secret/team/db", secret: {} });
    await ready("db");
    expect(await world.secret("team", "db")).toEqual({ user: "u", password: "p" });
  });
});
