// What each annotation of vault-k8s does: goldens show the whole pod for a few shapes, and for every annotation what it
// changes about the plain one. Beside them what is refused, and what only gets a warning.
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { AGENT_CONFIG_VARIABLE } from "#common/agent-config.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { applied, at, binding, cluster, pod, settings, surroundings, web } from "#test/injector/fixtures.ts";
import type { Surroundings } from "../match.ts";
import { mutate } from "../mutate.ts";
import { allNames, keyOf } from "./read-annotations.ts";
import { SECRETS_MAX } from "./vault-secrets.ts";

const PREFIX = "vault.hashicorp.com/";
const around = surroundings([]);
const plain = { "agent-inject": "true", role: "web", "agent-inject-secret-db": "secret/data/team/db" };

function annotated(
  annotations: Readonly<Record<string, string>>,
  spec: JsonObject = {},
  labels: JsonObject = {},
): JsonObject {
  const whole = Object.fromEntries(Object.entries(annotations).map(([key, value]) => [`${PREFIX}${key}`, value]));
  return pod(spec, { labels, annotations: whole });
}

function injected(json: JsonObject, where: Surroundings = around, how = settings) {
  const mutation = mutate(json, where, how);
  if (mutation.kind === "denied") throw new Error(`denied: ${mutation.message}`);
  return { pod: applied(json, mutation.patch), warnings: mutation.warnings };
}

function denial(json: JsonObject, where: Surroundings = around): string {
  const mutation = mutate(json, where, settings);
  return mutation.kind === "denied" ? mutation.message : "allowed";
}

/** With the agent's document as JSON, so that goldens show what is in it. */
function readable(value: JsonValue): JsonValue {
  if (isJsonArray(value)) return value.map(readable);
  if (!isJsonObject(value)) return value;
  if (value["name"] === AGENT_CONFIG_VARIABLE) {
    return { ...value, value: parseJson(String(value["value"]).replaceAll("$$", "$")) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, readable(member)]));
}

function leaves(value: JsonValue, path = ""): readonly (readonly [string, JsonValue])[] {
  if (isJsonArray(value)) {
    return value.flatMap((item, i) => leaves(item, `${path}[${nameOf(item) ?? i}]`));
  }
  if (!isJsonObject(value)) return [[path, value]];
  return Object.entries(value).flatMap(([key, member]) => leaves(member, path === "" ? key : `${path}.${key}`));
}

function nameOf(item: JsonValue): string | undefined {
  const name = at(item, "name");
  return typeof name === "string" ? name : undefined;
}

/** What is in one pod and not in the other. */
function difference(before: JsonValue, after: JsonValue): JsonObject {
  const old = new Map(leaves(readable(before)));
  const now = new Map(leaves(readable(after)));
  const gone = [...old.keys()].filter((path) => !now.has(path));
  const changed = [...now].filter(
    ([path, value]) => old.get(path) !== value && !path.startsWith("metadata.annotations.vault"),
  );
  const removed = gone.filter((path) => !path.startsWith("metadata.annotations.vault"));
  return {
    ...(changed.length === 0 ? {} : { set: Object.fromEntries(changed) }),
    ...(removed.length === 0 ? {} : { gone: removed }),
  };
}

const two = [web, { name: "proxy", image: "proxy:1", securityContext: { runAsUser: 1234 } }];
const withTmp: JsonObject = {
  volumes: [{ name: "tmp", emptyDir: {} }],
  containers: [{ ...web, volumeMounts: [{ name: "tmp", mountPath: "/tmp" }] }],
};
const projected: JsonObject = {
  volumes: [
    { name: "sa", projected: { sources: [{ serviceAccountToken: { path: "vault-token", audience: "vault" } }] } },
  ],
};
const external = { service: "https://vault.example.com:8200" };

/** Every annotation that does something, with what has to be there for it. */
const cases: readonly (readonly [Readonly<Record<string, string>>, JsonObject?])[] = [
  [{ "agent-inject-secret-Other": "/kv/other" }],
  [{ "agent-inject-secret-old": "secret/team/db?version=2" }],
  [{ "agent-inject-file-db": "conf/db.txt" }],
  [{ "agent-inject-perms-db": "0400" }],
  [{ "agent-inject-command-db": "kill -HUP $(pidof nginx)", "agent-share-process-namespace": "true" }],
  [{ "agent-inject-command-db": "sh -c 'pkill -USR1 app'" }],
  [{ "secret-volume-path": "/etc/secrets/" }],
  [{ "secret-volume-path-db": "/vault/secrets/inner", "agent-inject-secret-b": "kv/b" }],
  [{ "preserve-secret-case": "true", "agent-inject-secret-API_Key": "kv/k" }],
  [{ "preserve-secret-case-API_Key": "true", "agent-inject-secret-API_Key": "kv/k" }],
  [{ "agent-inject-default-template": "json" }],
  [{ "agent-inject-template-db": '{{ with secret "secret/data/team/db" }}{{ .Data.data.user }}{{ end }}' }],
  [
    {
      "agent-inject-template-db": '[[ with secret "kv/a" ]][[ .Data.x ]][[ end ]]',
      "agent-template-left-delim-db": "[[",
      "agent-template-right-delim-db": "]]",
      "error-on-missing-key-db": "true",
    },
  ],
  [{ "agent-inject-template-only": "{{ timestamp }}" }],
  [{ "agent-inject-token": "true" }],
  [{ "agent-inject-token": "true", "agent-pre-populate-only": "true" }],
  [{ "agent-inject-containers": "web" }, { containers: two }],
  [{ "agent-extra-secret": "extra" }],
  [{ "agent-copy-volume-mounts": "web" }, withTmp],
  [{ "agent-pre-populate": "false" }],
  [{ "agent-pre-populate-only": "true" }],
  [{ "agent-json-patch": '[{"op":"add","path":"/tty","value":true}]' }],
  [{ "agent-init-json-patch": '[{"op":"remove","path":"/resources/limits"}]', "agent-pre-populate-only": "true" }],
  [{ "agent-init-json-patch": "[]" }],
  [
    {
      "agent-requests-cpu": "1m",
      "agent-requests-mem": "16Mi",
      "agent-limits-cpu": "100m",
      "agent-limits-mem": "96Mi",
    },
  ],
  [{ "agent-limits-mem": "32Mi" }],
  [{ "agent-requests-mem": "256Mi" }],
  [{ "agent-requests-ephemeral": "16Mi", "agent-limits-ephemeral": "64Mi" }],
  [{ "agent-run-as-user": "100", "agent-run-as-group": "1000" }],
  [{ "agent-run-as-user": "0" }],
  [{ "agent-run-as-same-user": "true" }, { containers: two.toReversed() }],
  [{ "agent-set-security-context": "false" }],
  [{ "agent-service-account-token-volume-name": "sa" }, projected],
  [{ "agent-revoke-on-shutdown": "false" }],
  [external],
  [{ service: "http://vault.vault:8200" }],
  [{ service: "https://main.coffer-system.svc.cluster.local:8200/" }],
  [{ "tls-skip-verify": "true" }],
  [{ ...external, "tls-skip-verify": "true" }],
  [{ ...external, "tls-secret": "vault-tls", "ca-cert": "/vault/tls/ca.crt", "tls-server-name": "vault" }],
  [{ ...external, "client-cert": "/vault/tls/client.crt", "client-key": "/vault/tls/client.key" }],
  [{ "client-max-retries": "5", "client-timeout": "1m30s" }],
  [{ namespace: "admin/team" }],
  [{ "auth-path": "auth/clusters/one", "auth-type": "jwt", "auth-config-path": "/var/token" }],
  [{ role: "", "auth-config-role": "other" }],
  [{ "auth-config-token-path": "/var/run/secrets/kubernetes.io/serviceaccount/token" }],
  [{ "agent-cache-enable": "false" }],
  [{ "agent-cache-enable": "true" }],
  [
    {
      "agent-cache-enable": "true",
      "agent-cache-use-auto-auth-token": "force",
      "agent-cache-listener-port": "8300",
      "agent-cache-exit-on-err": "true",
      "agent-enable-quit": "true",
    },
  ],
  [{ "agent-cache-enable": "true", "agent-cache-use-auto-auth-token": "false" }],
  [{ "agent-cache-enable": "true", "agent-pre-populate-only": "true" }],
  [{ "template-static-secret-render-interval": "30s", "template-lease-renewal-threshold": "0.8" }],
  [{ "log-level": "trace", "log-format": "standard" }],
  [
    {
      "agent-image": "hashicorp/vault:1.15",
      "agent-enable-quit": "true",
      "agent-telemetry-prefix": "x",
      "ca-key": "/k",
    },
  ],
  [{ "agent-inject-status": "update" }],
];

describe("annotations of vault-k8s", () => {
  it("each change what the golden says", async () => {
    const shown = cases.map(([annotations, spec = {}]) => {
      const before = injected(annotated(plain, spec)).pod;
      const { pod: after, warnings } = injected(annotated({ ...plain, ...annotations }, spec));
      return { annotations, ...difference(before, after), ...(warnings.length === 0 ? {} : { warnings }) };
    });
    await expect(stringify(shown, { lineWidth: 0, aliasDuplicateObjects: false })).toMatchFileSnapshot(
      "goldens/each-annotation.yaml",
    );
  });

  it.each<[string, JsonObject, Surroundings?]>([
    ["plain", annotated(plain)],
    [
      "init-first",
      annotated({ ...plain, "agent-init-first": "true" }, { initContainers: [{ name: "migrate", image: "m" }] }),
    ],
    ["after-init-containers", annotated(plain, { initContainers: [{ name: "migrate", image: "m" }] })],
    ["another-server", annotated({ ...plain, ...external }), surroundings([], [])],
    ["job", annotated({ ...plain, "agent-pre-populate-only": "true" }, { restartPolicy: "Never" })],
  ])("make of a pod: %s", async (name, json, where) => {
    const { pod: out } = injected(json, where);
    await expect(stringify(out, { lineWidth: 0, aliasDuplicateObjects: false })).toMatchFileSnapshot(
      `goldens/${name}.yaml`,
    );
  });

  it("are in the goldens, in the refusals, or have no effect: none is forgotten", () => {
    const tested = [
      ...cases.flatMap(([given]) => Object.keys(given)),
      ...Object.keys(plain),
      ...refusals.flatMap(([given]) => Object.keys(given)),
    ];
    const elsewhere = ["agent-init-first"];
    const nothing = [
      "agent-request-namespace",
      "agent-revoke-grace",
      "agent-auto-auth-exit-on-err",
      "auth-min-backoff",
      "auth-max-backoff",
      "template-config-exit-on-retry-failure",
      "template-max-connections-per-host",
      "go-max-procs",
      "agent-disable-idle-connections",
      "agent-disable-keep-alives",
    ];
    const missing = allNames()
      .map((which) => keyOf(which).slice(PREFIX.length))
      .filter((key) => !tested.some((given) => given === key || given.startsWith(`${key}-`)))
      .filter((key) => !elsewhere.includes(key));
    expect(missing.sort()).toEqual(nothing.toSorted());
    const quiet = Object.fromEntries(nothing.map((key) => [key, valueFor(key)]));
    const { pod: out, warnings } = injected(annotated({ ...plain, ...quiet }));
    expect([difference(injected(annotated(plain)).pod, out), warnings]).toEqual([{}, []]);
  });
});

function valueFor(key: string): string {
  if (/backoff|grace/.test(key)) return "5s";
  if (/port|connections-per|procs/.test(key)) return "8200";
  return "true";
}

const wholeWrong = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`agent-inject-secret-s${i}`, "kv/x"]));

const refusals: readonly (readonly [Readonly<Record<string, string>>, string, JsonObject?])[] = [
  [{ "agent-inject": "yes" }, "agent-inject: write true or false"],
  [{ role: "" }, "role: is not set: write the name of a role of the auth method"],
  [{ "agent-pre-populate": "maybe" }, "agent-pre-populate: write true or false"],
  [{ "agent-inject-secret-db": "/" }, "agent-inject-secret-db: write the path of a secret"],
  [
    { "agent-inject-file-db": "../db" },
    'agent-inject-file-db: write a path below the directory of the secrets, without ".."',
  ],
  [
    { "agent-inject-file-db": "/etc/passwd" },
    'agent-inject-file-db: write a path below the directory of the secrets, without ".."',
  ],
  [{ "agent-inject-perms-db": "u=rw" }, "agent-inject-perms-db: write an octal mode in quotes, such as 0440"],
  [{ "agent-inject-perms-db": "4755" }, "agent-inject-perms-db: write an octal mode in quotes, such as 0440"],
  [
    { "agent-inject-command-db": "touch /tmp/x" },
    "agent-inject-command-db: the agent's image has no shell: write a signal such as kill -HUP $(pidof nginx), or let the application look at the file",
  ],
  [{ "secret-volume-path": "secrets" }, 'secret-volume-path: write an absolute path without ".." and ":"'],
  [{ "secret-volume-path": "/" }, "secret-volume-path: must not be the root directory"],
  [{ "agent-inject-default-template": "yaml" }, "agent-inject-default-template: write map or json"],
  [
    { "agent-inject-containers": "api" },
    "agent-inject-containers names the container api, which the pod does not have: correct it or the pod",
  ],
  [{ "agent-inject-template-file-db": "/t" }, "agent-inject-template-file-db: is not supported: "],
  [{ "agent-configmap": "config" }, "agent-configmap: is not supported: "],
  [{ "proxy-address": "http://proxy" }, "proxy-address: is not supported: "],
  [
    { "agent-cache-enable": "true" },
    "agent-cache-enable: the pod has the node's network, where every other such pod would reach the proxy: remove",
    { hostNetwork: true },
  ],
  [{ "agent-copy-volume-mounts": "api" }, "agent-copy-volume-mounts: the pod has no container api"],
  [
    { "agent-json-patch": "{}" },
    'agent-json-patch: write operations of RFC 6902, such as [{"op": "replace", "path": "/image", "value": "coffer:2"}]',
  ],
  [
    { "agent-json-patch": '[{"op":"remove","path":"/absent"}]' },
    'agent-json-patch: operation 0: there is no "absent" at its place',
  ],
  [{ "agent-limits-mem": "lots" }, "agent-limits-mem: write a quantity such as 250m or 64Mi"],
  [{ "agent-run-as-user": "root" }, "agent-run-as-user: write a whole number from 0 to 4294967294"],
  [{ "agent-run-as-user": "4294967295" }, "agent-run-as-user: write a whole number from 0 to 4294967294"],
  [{ "agent-run-as-same-user": "true" }, "agent-run-as-same-user: container web must state securityContext.runAsUser"],
  [
    { "agent-run-as-same-user": "true" },
    "agent-run-as-same-user: container web runs as root, and the agent must not",
    { containers: [{ ...web, securityContext: { runAsUser: 0 } }] },
  ],
  [
    { "agent-service-account-token-volume-name": "sa" },
    'agent-service-account-token-volume-name: the pod has no projected volume "sa" with a serviceAccountToken',
  ],
  [{ service: "vault:8200" }, "service: write an address such as https://vault.vault.svc:8200"],
  [{ service: "https://user:pw@vault" }, "service: write an address such as https://vault.vault.svc:8200"],
  [{ "client-cert": "/c" }, "client-cert: and vault.hashicorp.com/client-key go together"],
  [{ "client-timeout": "soon" }, "client-timeout: write a duration such as 60s or 5m"],
  [{ "client-max-retries": "101" }, "client-max-retries: write a whole number from 0 to 100"],
  [{ "auth-type": "approle" }, "auth-type: write kubernetes or jwt"],
  [
    { "auth-config-secret-id-file-path": "/s" },
    "auth-config-secret-id-file-path: is not a parameter that is known: role, token-path, path are",
  ],
  [
    { "template-lease-renewal-threshold": "1" },
    "template-lease-renewal-threshold: write a fraction between 0 and 1, such as 0.9",
  ],
  [{ "log-level": "loud" }, "log-level: write trace or debug or info or warn or error or err"],
  [wholeWrong(SECRETS_MAX), `agent-inject-secret-NAME: there are more than ${SECRETS_MAX}`],
];

describe("refusals", () => {
  it.each(refusals.map((refusal) => ({ refusal })))("$refusal.0", ({ refusal: [annotations, message, spec = {}] }) => {
    expect(denial(annotated({ ...plain, ...annotations }, spec)).startsWith(`${PREFIX}${message}`)).toBe(true);
  });

  it("name both secrets that write the same file", () => {
    const same = { "agent-inject-secret-a": "kv/a", "agent-inject-file-a": "db" };
    expect(denial(annotated({ ...plain, ...same }))).toBe(
      "the annotations of a and the annotations of db write the same file /vault/secrets/db: change the path or the mountPath of one",
    );
  });

  it("name what is in the way of the directory", () => {
    const mounted = {
      volumes: [{ name: "v", emptyDir: {} }],
      containers: [{ ...web, volumeMounts: [{ name: "v", mountPath: "/vault/secrets" }] }],
    };
    expect(denial(annotated(plain, mounted))).toBe(
      "container web already mounts volume v at /vault/secrets: change vault.hashicorp.com/secret-volume-path",
    );
  });

  it("say what to do without a server, with several, and with one that is not ready", () => {
    const text = (clusters: Surroundings["clusters"]) => denial(annotated(plain), surroundings([], [...clusters]));
    expect(text([])).toBe(
      `${PREFIX}service: is not set, and there is no VaultCluster yet: create one; or name the server by this annotation`,
    );
    expect(text([cluster("a"), cluster("b")])).toContain("there are several VaultClusters");
    expect(text([cluster("main", { address: null })])).toContain("VaultCluster coffer-system/main has no address yet");
  });

  it("are Windows' too", () => {
    expect(denial(annotated(plain, { nodeSelector: { "kubernetes.io/os": "windows" } }))).toBe(
      "secrets cannot be injected into pods on Windows: remove the annotation vault.hashicorp.com/agent-inject and read them through the API",
    );
  });

  it("stop annotations of ours that are not known", () => {
    const json = (key: string) =>
      pod({}, { annotations: { [`${PREFIX}agent-inject`]: "true", [`${PREFIX}role`]: "r", [key]: "x" } });
    expect(denial(json("coffer.dev/injekt"))).toBe(
      "the annotation coffer.dev/injekt is not known: remove it, or correct its name",
    );
    expect(denial(json("coffer.dev/inject"))).toBe(
      "coffer.dev/inject is a label, not an annotation: move it to metadata.labels",
    );
  });
});

describe("who is injected by annotations", () => {
  it("leaves pods alone that say no, nothing, or that it is done", () => {
    const unchanged = { kind: "allowed", patch: [], warnings: [] };
    expect(mutate(annotated({ ...plain, "agent-inject": "false" }), around, settings)).toEqual(unchanged);
    expect(mutate(annotated({ role: "web" }), around, settings)).toEqual(unchanged);
    expect(mutate(injected(annotated(plain)).pod, around, settings)).toEqual(unchanged);
    expect(mutate(annotated({ ...plain, "agent-inject-status": "injected" }), around, settings)).toMatchObject({
      patch: [],
      warnings: [expect.stringContaining("it has no agent")],
    });
  });

  it("lets a SecretBinding that selects a labelled pod go first, and says so", () => {
    const where = surroundings([binding("db", { files: [{ path: "db.json" }] })]);
    const labels = { app: "web", "coffer.dev/inject": "true" };
    const { pod: out, warnings } = injected(annotated(plain, {}, labels), where);
    expect(at(out, "metadata", "annotations", "coffer.dev/bindings")).toBe("db");
    expect(warnings).toEqual([`${PREFIX}agent-inject has no effect: the pod receives what the SecretBindings db give`]);
    const none = surroundings([
      binding("db", { selector: { matchLabels: { app: "api" } }, files: [{ path: "db.json" }] }),
    ]);
    expect(
      at(injected(annotated(plain, {}, labels), none).pod, "metadata", "annotations", "coffer.dev/bindings"),
    ).toBeUndefined();
  });

  it("warns of annotations that are not known and of secrets that are not there", () => {
    const { warnings } = injected(
      annotated({ ...plain, "agent-inject-secert-x": "kv/x", "agent-inject-file-dp": "x" }),
    );
    expect(warnings).toEqual([
      `the annotation ${PREFIX}agent-inject-secert-x is not known and has no effect`,
      `the annotation ${PREFIX}agent-inject-file-dp has no effect: there is no ${PREFIX}agent-inject-secret-dp`,
    ]);
  });

  it("takes as many secrets as the limit", () => {
    expect(injected(annotated({ "agent-inject": "true", role: "r", ...wholeWrong(SECRETS_MAX) })).warnings).toEqual([]);
  });

  it("comes before what a mesh cuts off, and last otherwise", () => {
    const order = (names: string[]) => {
      const spec = { initContainers: names.map((name) => ({ name, image: "x" })) };
      const all = at(injected(annotated(plain, spec)).pod, "spec", "initContainers");
      return isJsonArray(all) ? all.map((container) => at(container, "name")) : [];
    };
    expect(order(["own", "istio-init", "other"])).toEqual(["own", "coffer-agent", "istio-init", "other"]);
    expect(order(["own", "other"])).toEqual(["own", "other", "coffer-agent"]);
  });

  it("leaves users to a cluster that assigns them, unless the pod names one", () => {
    const userOf = (annotations: Record<string, string>) => {
      const { pod: out } = injected(annotated({ ...plain, ...annotations }), around, {
        ...settings,
        assignsUsers: true,
      });
      return at(out, "spec", "initContainers", 0, "securityContext", "runAsUser");
    };
    expect(userOf({})).toBeUndefined();
    expect(userOf({ "agent-run-as-user": "1000700001" })).toBe(1_000_700_001);
  });

  it("gives init containers the files when the agent comes before them, or when they are named", () => {
    const spec = { initContainers: [{ name: "migrate", image: "m" }] };
    const mounts = (annotations: Record<string, string>, name: string) => {
      const { pod: out } = injected(annotated({ ...plain, ...annotations }, spec));
      const all = at(out, "spec", "initContainers");
      const found = isJsonArray(all) ? all.find((container) => at(container, "name") === name) : undefined;
      return at(found ?? null, "volumeMounts", 0, "name");
    };
    expect(mounts({ "agent-init-first": "true", "agent-inject-containers": "web" }, "migrate")).toBe("coffer-secrets");
    expect(mounts({ "agent-inject-containers": "web,migrate" }, "migrate")).toBe("coffer-secrets");
    expect(mounts({ "agent-inject-containers": "web" }, "migrate")).toBeUndefined();
  });
});
