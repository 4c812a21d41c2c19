import { describe, expect, it } from "vitest";
import { managesNamespace, readOperatorSettings } from "./settings.ts";

const CHART = {
  COFFER_POD_NAMESPACE: "coffer-system",
  COFFER_POD_NAME: "operator-1",
  COFFER_SERVICE_ACCOUNT: "coffer-operator",
  COFFER_IMAGE: "coffer/coffer:1",
};

describe("readOperatorSettings", () => {
  it("takes what the chart sets and has defaults for the rest", () => {
    expect(readOperatorSettings([], CHART)).toMatchObject({
      namespace: "coffer-system",
      clusterNamespaces: ["coffer-system"],
      imagePullPolicy: "IfNotPresent",
      imagePullSecrets: [],
      healthHost: "",
      healthPort: 8081,
      kubeconfig: undefined,
    });
  });
  it("reads lists and the kubeconfig", () => {
    const env = { ...CHART, COFFER_CLUSTER_NAMESPACES: "a, b", COFFER_IMAGE_PULL_SECRETS: "x" };
    const settings = readOperatorSettings(["-kubeconfig=/k"], env);
    expect(settings).toMatchObject({ clusterNamespaces: ["a", "b"], imagePullSecrets: ["x"], kubeconfig: "/k" });
    expect(readOperatorSettings(["--kubeconfig", "k"], CHART).kubeconfig).toBe("k");
  });
  it.each([
    [[], { ...CHART, COFFER_IMAGE: "" }, "COFFER_IMAGE is not set"],
    [[], { ...CHART, COFFER_LOG_LEVEL: "loud" }, "COFFER_LOG_LEVEL must be one of"],
    [[], { ...CHART, COFFER_HEALTH_ADDRESS: "here" }, "COFFER_HEALTH_ADDRESS must be written"],
    [["-frobnicate"], CHART, "the operator knows no argument -frobnicate"],
    [["-kubeconfig=a", "b"], CHART, "the operator knows no argument"],
  ])("refuses %j", (argv, env, message) => {
    expect(() => readOperatorSettings(argv, env)).toThrow(message);
  });
});

describe("managesNamespace", () => {
  it.each([
    [["a"], "a", true],
    [["a"], "b", false],
    [["*"], "b", true],
  ])("%j and %s: %s", (clusterNamespaces, namespace, expected) => {
    expect(managesNamespace({ clusterNamespaces }, namespace)).toBe(expected);
  });
});
