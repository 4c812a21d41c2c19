import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { AGENT_CONFIG_VARIABLE, type AgentConfig, agentConfigSchema } from "#common/agent-config.ts";
import { type JsonObject, parseJson } from "#common/json.ts";
import type { SecretBinding } from "#operator/api/secret-binding.ts";
import {
  applied,
  at,
  binding,
  cluster,
  pod,
  refused,
  settings,
  surroundings,
  waiting,
  web,
} from "#test/injector/fixtures.ts";
import type { Surroundings } from "./match.ts";
import { mutate } from "./mutate.ts";

const files: JsonObject = { files: [{ path: "db.json" }] };
const env: JsonObject = { env: [{ name: "DB_PASSWORD", key: "password" }] };
const plainVariables = { ...settings, plainVariables: true };
const noFileKeyRef = { ...settings, fileKeyRef: false };

function injected(
  json: JsonObject,
  around: Surroundings,
  how = settings,
): { pod: JsonObject; warnings: readonly string[] } {
  const mutation = mutate(json, around, how);
  if (mutation.kind === "denied") throw new Error(`denied: ${mutation.message}`);
  return { pod: applied(json, mutation.patch), warnings: mutation.warnings };
}

function denial(json: JsonObject, around: Surroundings, how = settings): string {
  const mutation = mutate(json, around, how);
  return mutation.kind === "denied" ? mutation.message : "allowed";
}

/** The agent's document, as its process reads it after the kubelet has expanded it. */
function configOf(json: JsonObject, index = 0): AgentConfig {
  const variable = at(json, "spec", "initContainers", index, "env", 0);
  expect(at(variable, "name")).toBe(AGENT_CONFIG_VARIABLE);
  return agentConfigSchema.parse(parseJson(String(at(variable, "value")).replaceAll("$$", "$")));
}

describe("templates", () => {
  const two = {
    sources: [
      { name: "db", path: "secret/team/db" },
      { name: "tls", path: "secret/team/tls" },
    ],
  };

  it("of a keystore names the source of its password as the agent does", () => {
    const keystore = { passwordKey: "pw", passwordSource: "tls", alias: "web" };
    const file = { path: "a.p12", source: "db", format: "PKCS12", keystore };
    const config = configOf(injected(pod(), surroundings([binding("app", { ...two, files: [file] })])).pod);
    const [written] = config.files;
    expect(written?.keystore).toMatchObject({ certificate: "certificate", alias: "web", password: { key: "pw" } });
    const named = config.sources.find(({ name }) => name === written?.keystore?.password.source);
    expect(named?.path).toBe("secret/team/tls");
  });

  it("reach the agent to the letter, with the names of their sources", () => {
    const template = 'price: $$5 $(HOME) {{ $x := .a }}{{ $x }} {{ (source "tls").key }}';
    const file = { path: "app.conf", format: "Template", template };
    const config = configOf(injected(pod(), surroundings([binding("app", { ...two, files: [file] })])).pod);
    const [written] = config.files;
    expect(written).toMatchObject({ source: "", format: "Template" });
    expect(written?.template).toMatchObject({ text: template, errorOnMissingKey: true });
    const named = config.sources.find(({ name }) => name === written?.template?.sources["tls"]);
    expect(named?.path).toBe("secret/team/tls");
  });

  it("begin with the keys of the only source", () => {
    const file = { path: "a", format: "Template", template: "{{ .x }}", errorOnMissingKey: false };
    const config = configOf(injected(pod(), surroundings([binding("app", { files: [file] })])).pod);
    expect(config.files[0]?.source).toBe(config.sources[0]?.name);
    expect(config.files[0]?.template?.errorOnMissingKey).toBe(false);
  });

  it("must fit into the agent's environment", () => {
    const template = "x".repeat(16_384);
    const files = Array.from({ length: 9 }, (_, i) => ({ path: `f${i}`, format: "Template", template }));
    expect(denial(pod(), surroundings([binding("app", { files })]))).toContain("deliver fewer files");
  });
});

describe("pods as they come out", () => {
  const mesh = (name: string): JsonObject => ({ name, image: "mesh:1" });
  const native = (name: string): JsonObject => ({ ...mesh(name), restartPolicy: "Always" });
  const cases: Record<
    string,
    { pod: JsonObject; bindings: SecretBinding[]; fileKeyRef?: boolean; assignsUsers?: boolean }
  > = {
    "mesh-native": {
      pod: pod({ initContainers: [mesh("istio-init"), native("istio-proxy"), mesh("migrate")] }),
      bindings: [binding("db", files)],
    },
    "mesh-classic": {
      pod: pod({ initContainers: [mesh("linkerd-init"), mesh("migrate")], containers: [web, mesh("linkerd-proxy")] }),
      bindings: [binding("db", { ...files, containers: ["web"] })],
    },
    openshift: { pod: pod(), bindings: [binding("db", { ...files, ...env })], assignsUsers: true },
    "host-network": {
      pod: pod({ hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet", automountServiceAccountToken: false }),
      bindings: [binding("db", files)],
    },
    "pod-security-restricted": {
      pod: pod({
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
        containers: [{ ...web, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } } }],
      }),
      bindings: [binding("db", { ...files, ...env })],
      fileKeyRef: false,
    },
    "file-and-variable": { pod: pod(), bindings: [binding("db", { ...files, ...env })] },
    helper: { pod: pod(), bindings: [binding("db", env)], fileKeyRef: false },
    "init-only": { pod: pod(), bindings: [binding("db", { ...files, refreshInterval: "0s" })] },
    job: {
      pod: pod({ restartPolicy: "Never", containers: [{ name: "job", image: "job:1" }] }),
      bindings: [binding("db", { ...files, ...env })],
    },
    "several-bindings": {
      pod: pod({
        securityContext: { runAsUser: 1000, fsGroup: 2000 },
        initContainers: [{ name: "migrate", image: "web:1" }],
        containers: [web, { name: "proxy", image: "proxy:1", volumeMounts: [{ name: "tmp", mountPath: "/tmp" }] }],
        volumes: [{ name: "tmp", emptyDir: {} }],
      }),
      bindings: [
        binding("db", { ...files, containers: ["web", "migrate"] }),
        binding("tls", {
          sources: [
            { name: "cert", path: "secret/team/tls", version: 2 },
            { name: "db", path: "secret/team/db", optional: true },
          ],
          files: [
            { path: "tls/cert.pem", source: "cert", format: "Raw", key: "certificate", mode: "0444" },
            { path: "all", source: "db", format: "PerKey" },
          ],
          env: [{ name: "DB_USER", source: "cert", key: "user" }],
        }),
      ],
    },
  };
  for (const [name, { pod: json, bindings, fileKeyRef = true, assignsUsers }] of Object.entries(cases)) {
    it(name, async () => {
      const { pod: out } = injected(json, surroundings(bindings), { ...settings, fileKeyRef, assignsUsers });
      await expect(stringify(out, { lineWidth: 0, aliasDuplicateObjects: false })).toMatchFileSnapshot(
        `goldens/${name}.yaml`,
      );
    });
  }
});

describe("who receives what", () => {
  const around = surroundings([binding("db", files)]);

  it("leaves pods without the label alone", () => {
    expect(mutate(pod({}, { labels: { app: "web" } }), around, settings)).toEqual({
      kind: "allowed",
      patch: [],
      warnings: [],
    });
  });

  it("leaves a pod that has been injected alone", () => {
    const once = injected(pod(), around).pod;
    expect(mutate(once, around, settings)).toEqual({ kind: "allowed", patch: [], warnings: [] });
  });

  it("does not change what it is given, and answers the same again", () => {
    const json = pod();
    const before = JSON.stringify(json);
    expect(mutate(json, around, settings)).toEqual(mutate(json, around, settings));
    expect(JSON.stringify(json)).toBe(before);
  });

  it("puts the agent before the pod's own init containers", () => {
    const out = injected(pod({ initContainers: [{ name: "first", image: "a" }] }), around).pod;
    expect(at(out, "spec", "initContainers", 0, "name")).toBe("coffer-agent");
    expect(at(out, "spec", "initContainers", 1)).toEqual({ name: "first", image: "a" });
  });

  it("finds its place among the containers of a mesh", () => {
    const names = (initContainers: JsonObject[]) => {
      const all = at(injected(pod({ initContainers }), around).pod, "spec", "initContainers");
      return JSON.stringify(all).match(/(?<="name":")(coffer-agent|istio-[a-z]+|linkerd-[a-z]+|own)(?=")/g);
    };
    const of = (name: string, more: JsonObject = {}) => ({ name, image: "x", ...more });
    const native = { restartPolicy: "Always" };
    expect(names([of("istio-init"), of("istio-proxy", native), of("own")])).toEqual([
      ...["istio-init", "istio-proxy", "coffer-agent", "own"],
    ]);
    expect(names([of("linkerd-proxy", native)])).toEqual(["linkerd-proxy", "coffer-agent"]);
    expect(names([of("own"), of("istio-init")])).toEqual(["coffer-agent", "own", "istio-init"]);
  });

  it("takes the role of the namespace, or that of a ServiceAccount which any binding names", () => {
    expect(configOf(injected(pod(), around).pod).auth.role).toBe("sb_team");
    const named = surroundings([
      binding("db", files),
      binding("x", { ...files, serviceAccounts: ["web"], suspend: true }),
    ]);
    expect(configOf(injected(pod(), named).pod).auth.role).toBe("sb_team_web");
  });

  it("reads one path once for all bindings, and needs it when one of them does", () => {
    const twice = surroundings([
      binding("a", { sources: [{ name: "s", path: "secret/team/db", optional: true }], files: [{ path: "a" }] }),
      binding("b", { path: "secret/team/db", files: [{ path: "b" }] }),
    ]);
    expect(configOf(injected(pod(), twice).pod).sources).toEqual([
      { name: "a/s", path: "secret/team/db", version: 0, optional: false },
    ]);
  });

  it("refreshes at the shortest interval of those that refresh", () => {
    const bindings = [
      binding("a", { ...files, refreshInterval: "1m30s" }),
      binding("b", { files: [{ path: "b" }], refreshInterval: "0s" }),
    ];
    expect(configOf(injected(pod(), surroundings(bindings)).pod)).toMatchObject({
      mode: "Sidecar",
      refreshIntervalSeconds: 90,
    });
  });

  it("tells the agent whom a change is to be told, and how stale files may be", () => {
    const onChange = { http: { port: 8081, path: "/-/reload" }, signal: { process: "nginx" } };
    const bindings = [
      binding("a", { ...files, onChange, maxStale: "2h" }),
      binding("b", { files: [{ path: "b" }], maxStale: "90m" }),
    ];
    const { pod: out, warnings } = injected(pod(), surroundings(bindings));
    const config = configOf(out);
    expect(config.maxStaleSeconds).toBe(5400);
    expect(config.files.map((file) => file.onChange)).toEqual([
      { http: "http://127.0.0.1:8081/-/reload", signal: "SIGHUP", process: "nginx" },
      undefined,
    ]);
    const unheard = "wants a signal, which reaches no process without shareProcessNamespace: true";
    expect(warnings).toEqual([`SecretBinding team/a ${unheard}`]);
    expect(injected(pod({ shareProcessNamespace: true }), surroundings(bindings)).warnings).toEqual([]);
  });

  it("keeps a dollar in a key through the kubelet's expansion", () => {
    const dollar = binding("a", { env: [{ name: "A", key: "$(HOME)$$" }] });
    const out = injected(pod(), surroundings([dollar])).pod;
    expect(String(at(out, "spec", "initContainers", 0, "env", 0, "value"))).toContain("$$(HOME)$$$$");
    expect(configOf(out).environments[0]?.variables[0]?.key).toBe("$(HOME)$$");
  });

  it("tells the agent how the cluster's kubelets read variables", () => {
    const around = surroundings([binding("db", env)]);
    const formatOf = (how: typeof settings) => configOf(injected(pod(), around, how).pod).environments[0]?.format;
    expect([formatOf(settings), formatOf(plainVariables)]).toEqual(["FileKeyRef", "FileKeyRefPlain"]);
  });

  it("mounts no CA when the cluster's certificate is one that everybody trusts", () => {
    const trusted = surroundings([binding("db", files)], [cluster("main", { caBundle: null })]);
    const out = injected(pod(), trusted).pod;
    expect(configOf(out).caFile).toBeUndefined();
    expect(JSON.stringify(out)).not.toContain("coffer-ca");
  });

  it("keeps one container's secrets from another", () => {
    const two = pod({ containers: [web, { ...web, name: "other" }] });
    const out = injected(
      two,
      surroundings([
        binding("a", { ...files, containers: ["web"] }),
        binding("b", { ...files, containers: ["other"] }),
      ]),
    ).pod;
    expect(at(out, "spec", "containers", 0, "volumeMounts", 0, "name")).toBe("coffer-secrets");
    expect(at(out, "spec", "containers", 1, "volumeMounts", 0, "name")).toBe("coffer-secrets-2");
  });

  it("lets a variable of an optional secret be absent", () => {
    const maybe = binding("a", {
      sources: [{ name: "s", path: "secret/team/a", optional: true }],
      env: [{ name: "A", key: "k" }],
    });
    const out = injected(pod(), surroundings([maybe])).pod;
    expect(at(out, "spec", "containers", 0, "env", 0, "valueFrom", "fileKeyRef", "optional")).toBe(true);
  });

  it("never runs as root, and takes the pod's user otherwise", () => {
    const userOf = (securityContext: JsonObject) =>
      at(injected(pod({ securityContext }), around).pod, "spec", "initContainers", 0, "securityContext", "runAsUser");
    expect([userOf({ runAsUser: 0 }), userOf({ runAsUser: 1000 }), userOf({})]).toEqual([65532, 1000, 65532]);
  });

  it("warns of a container that is not there and of a file that nobody may read", () => {
    const { warnings } = injected(
      pod(),
      surroundings([binding("db", { files: [{ path: "a", mode: "0400" }], containers: ["web", "absent"] })]),
    );
    expect(warnings).toEqual([
      "SecretBinding team/db names the container absent, which the pod does not have",
      "SecretBinding team/db writes a with mode 0400, which only user 65532 can read: set the pod's securityContext.runAsUser, or a mode such as 0440",
    ]);
  });
});

describe("refusals", () => {
  const db = binding("db", files);
  const other = binding("other", { files: [{ path: "db.json" }] });
  const cases: Record<string, [JsonObject, Surroundings, string, typeof settings?]> = {
    "no binding": [
      pod(),
      surroundings([]),
      'the pod has the label coffer.dev/inject: "true", but no SecretBinding in namespace team selects it: create one whose spec.selector matches the pod\'s labels and whose spec.serviceAccounts, if set, has "web", or remove the label',
    ],
    "another selector": [
      pod(),
      surroundings([binding("db", { ...files, selector: { matchLabels: { app: "api" } } })]),
      'the pod has the label coffer.dev/inject: "true", but no SecretBinding in namespace team selects it: create one whose spec.selector matches the pod\'s labels and whose spec.serviceAccounts, if set, has "web", or remove the label',
    ],
    "another ServiceAccount": [
      pod({ serviceAccountName: "default" }),
      surroundings([binding("db", { ...files, serviceAccounts: ["web", "job"] })]),
      'SecretBinding team/db selects the pod but not its ServiceAccount "default": add that to spec.serviceAccounts, or run the pod as web or job',
    ],
    suspended: [
      pod(),
      surroundings([binding("db", { ...files, suspend: true })]),
      "SecretBinding team/db selects the pod but is suspended: set its spec.suspend to false",
    ],
    "refused by the operator": [
      pod(),
      surroundings([binding("db", files, refused)]),
      "SecretBinding team/db is refused (PathNotAllowed): secret/other/db is not allowed to namespace team",
    ],
    "not accepted yet": [
      pod(),
      surroundings([binding("db", files, waiting)]),
      "SecretBinding team/db is not accepted yet (VaultNotReady: VaultCluster coffer-system/main is sealed); the pod can be created once it is: kubectl describe sb db -n team",
    ],
    "not seen by the operator": [
      pod(),
      surroundings([binding("db", files, null)]),
      "SecretBinding team/db is not accepted yet (the operator has not seen it); the pod can be created once it is: kubectl describe sb db -n team",
    ],
    "no cluster": [
      pod(),
      surroundings([db], []),
      "SecretBinding team/db (VaultNotFound): there is no VaultCluster yet: create one",
    ],
    "a cluster without address": [
      pod(),
      surroundings([db], [cluster("main", { address: null })]),
      "VaultCluster coffer-system/main has no address yet: wait until it is ready (kubectl get vc -n coffer-system)",
    ],
    "two clusters": [
      pod(),
      surroundings(
        [db, binding("x", { ...files, vaultRef: { name: "b", namespace: "coffer-system" } })],
        [cluster("a", {}, { default: true }), cluster("b")],
      ),
      "SecretBinding team/db and SecretBinding team/x select the pod but use different VaultClusters (coffer-system/a and coffer-system/b): a pod can have one",
    ],
    "the same file": [
      pod(),
      surroundings([db, other]),
      "SecretBinding team/db and SecretBinding team/other write the same file /coffer/secrets/db.json: change the path or the mountPath of one",
    ],
    "a file that is a directory": [
      pod(),
      surroundings([db, binding("x", { files: [{ path: "db.json/x" }] })]),
      "SecretBinding team/db and SecretBinding team/x write /coffer/secrets/db.json and /coffer/secrets/db.json/x, and one path cannot be both a file and a directory",
    ],
    "a mountPath in another": [
      pod(),
      surroundings([db, binding("x", { ...files, mountPath: "/coffer/secrets/x" })]),
      "the mountPaths /coffer/secrets and /coffer/secrets/x lie within one another: use one of them, or two apart",
    ],
    "the same variable": [
      pod(),
      surroundings([binding("db", env), binding("x", env)]),
      "SecretBinding team/db and SecretBinding team/x set the same environment variable DB_PASSWORD: rename or remove one",
    ],
    "a variable that is there": [
      pod({ containers: [{ ...web, env: [{ name: "DB_PASSWORD", value: "x" }] }] }),
      surroundings([binding("db", env)]),
      "container web already has the environment variable DB_PASSWORD: remove it from the pod or from SecretBinding team/db",
    ],
    "a mount that is there": [
      pod({ containers: [{ ...web, volumeMounts: [{ name: "v", mountPath: "/coffer/secrets/" }] }] }),
      surroundings([db]),
      "container web already mounts volume v at /coffer/secrets: change spec.mountPath of SecretBinding team/db",
    ],
    "a volume of the injector's": [
      pod({ volumes: [{ name: "coffer-token", emptyDir: {} }] }),
      surroundings([db]),
      "the pod already has a volume named coffer-token, which is a name of the injector's: rename it",
    ],
    "a container of the injector's": [
      pod({ containers: [{ name: "coffer-agent", image: "x" }] }),
      surroundings([db]),
      "the pod already has a container named coffer-agent: rename it, or start from a manifest that has not been injected",
    ],
    "no such container": [
      pod(),
      surroundings([binding("db", { ...files, containers: ["api"] })]),
      "SecretBinding team/db names the container api, which the pod does not have: correct spec.containers or the pod",
    ],
    "variables without a command": [
      pod({ containers: [{ name: "web", image: "web:1" }] }),
      surroundings([binding("db", env)]),
      "container web states no command, which the helper needs to set the environment variables of SecretBinding team/db: write the image's entrypoint as the container's command, or use files instead of env",
      noFileKeyRef,
    ],
    "FileKeyRef where there is none": [
      pod(),
      surroundings([binding("db", { ...env, envMethod: "FileKeyRef" })]),
      "SecretBinding team/db wants environment variables by FileKeyRef, which this cluster does not have (Kubernetes 1.35, or 1.34 with the feature gate EnvFiles): set spec.envMethod to Auto or Helper",
      noFileKeyRef,
    ],
    "Windows by selector": [
      pod({ nodeSelector: { "kubernetes.io/os": "windows" } }),
      surroundings([db]),
      "secrets cannot be injected into pods on Windows: remove the label coffer.dev/inject and read them through the API",
    ],
    "Windows by os": [
      pod({ os: { name: "windows" } }),
      surroundings([db]),
      "secrets cannot be injected into pods on Windows: remove the label coffer.dev/inject and read them through the API",
    ],
    "a pod that is none": [
      { metadata: { labels: { "coffer.dev/inject": "true" } }, spec: {} },
      surroundings([db]),
      "spec.containers must be a list",
    ],
  };
  for (const [name, [json, around, sentence, how]] of Object.entries(cases)) {
    it(name, () => {
      expect(denial(json, around, how)).toBe(sentence);
    });
  }

  it("says how much is too much", () => {
    const variables = Array.from({ length: 64 }, (_, i) => ({ name: `${"N".repeat(200)}${i}`, key: "k".repeat(256) }));
    const many = Array.from({ length: 4 }, (_, i) =>
      binding(`b${i}`, { env: variables.map((v) => ({ ...v, name: `${v.name}_${i}` })) }),
    );
    expect(denial(pod(), surroundings(many))).toMatch(/^the pod's 4 SecretBindings need \d+ bytes of configuration/);
  });
});
