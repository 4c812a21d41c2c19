// Configuration files of the agent: the spellings that files of Vault's agent have, and what is refused.
import { describe, expect, it } from "vitest";
import { parseAgentFile } from "./agent-file.ts";
import { STANZAS } from "./stanzas.ts";

const parse = (text: string) => parseAgentFile([{ name: "agent.hcl", text }]);
const METHOD = 'method "token_file" { config = { token_file_path = "/t" } }';
const withAuth = (text: string) => parse(`auto_auth { ${METHOD} }\n${text}`);

describe("auto_auth", () => {
  const sinks = [
    { path: "/a", mode: "0640" },
    { path: "/b", mode: "0600", wrapTtlSeconds: 300 },
  ];
  it.each([
    [
      "labels",
      `auto_auth {
        method "approle" { config = { role_id_file_path = "/r" } }
        sink "file" { config = { path = "/a" } }
        sink "file" { wrap_ttl = "5m"
                      config { path = "/b"
                               mode = 0600 } }
      }`,
    ],
    [
      "types and a sinks block",
      `auto_auth {
        method { type = "approle"
                 config { role_id_file_path = "/r" } }
        sinks { sink { type = "file"
                       config = { path = "/a" } }
                sink { type = "file"
                       wrap_ttl = 300
                       config = { path = "/b", mode = "600" } } }
      }`,
    ],
    [
      "JSON",
      JSON.stringify({
        auto_auth: {
          method: [{ type: "approle", config: { role_id_file_path: "/r" } }],
          sinks: [
            { sink: { type: "file", config: { path: "/a" } } },
            { sink: [{ type: "file", wrap_ttl: "5m", config: [{ path: "/b", mode: "0600" }] }] },
          ],
        },
      }),
    ],
    [
      "JSON with labels",
      JSON.stringify({
        auto_auth: [
          {
            method: { approle: { config: { role_id_file_path: "/r" } } },
            sink: [
              { file: { config: { path: "/a" } } },
              { file: { wrap_ttl: "5m", config: { path: "/b", mode: "0600" } } },
            ],
          },
        ],
      }),
    ],
  ])("is read in the spelling with %s", (_, text) => {
    const { autoAuth } = parse(text);
    expect(autoAuth).toMatchObject({
      type: "approle",
      mountPath: "auth/approle",
      minBackoffSeconds: 1,
      maxBackoffSeconds: 300,
    });
    expect(autoAuth?.sinks.map(({ mode, ...rest }) => ({ ...rest, mode: mode.padStart(4, "0") }))).toMatchObject(sinks);
  });
});

describe("a proxy", () => {
  it.each([
    ["a label", 'listener "tcp" { address = "127.0.0.1:8100"\n tls_disable = true }'],
    ["a type", 'listener { type = "tcp"\n address = "127.0.0.1:8100"\n tls_disable = true }'],
  ])("is read with %s", (_, listener) => {
    const file = withAuth(
      `${listener}\napi_proxy { use_auto_auth_token = "force" }\ncache { persist = { type = "kubernetes" } }`,
    );
    expect(file.proxy).toEqual({
      listeners: [{ type: "tcp", address: "127.0.0.1:8100", remote: false, requireRequestHeader: false }],
      proxy: { useAutoAuthToken: "Force", exitOnError: true },
      cache: true,
    });
    expect(file.warnings).toEqual([expect.stringMatching(/persist has no effect: the cache is in memory alone/)]);
  });

  it("takes the token's use from the older place", () => {
    const { proxy } = withAuth('listener "unix" { address = "/run/a.sock" }\ncache { use_auto_auth_token = true }');
    expect(proxy).toMatchObject({
      listeners: [{ type: "unix", address: "/run/a.sock", socketMode: "0600" }],
      proxy: { useAutoAuthToken: "WhenMissing" },
    });
  });

  it.each([
    [
      'listener "tcp" { address = "0.0.0.0:8100"\n tls_disable = true }',
      /can be reached from other machines.*remote = true/,
    ],
    ['listener "tcp" { address = "127.0.0.1:8100" }', /give tls_cert_file and tls_key_file, or tls_disable = true/],
    ['listener "tcp" { address = "8100"\n tls_disable = true }', /must be as 127.0.0.1:8200/],
    ['listener "unix" { }', /has no address/],
    ['listener "udp" { }', /must be of the type tcp or unix/],
    ["cache {}", /need a listener/],
    [
      'listener "unix" { address = "/a" }\napi_proxy { use_auto_auth_token = "maybe" }',
      /must be true, false or "force"/,
    ],
    ['listener "unix" { address = "/a" }\napi_proxy { when_inconsistent = "retry" }', /must be one of fail, forward/],
  ])("is refused as %s", (text, message) => {
    expect(() => withAuth(text)).toThrow(message);
  });
});

it("reads what a usual file says", () => {
  const file = withAuth(`
    pid_file = "./pid"
    vault { address = "https://v:8200"
            retry { num_retries = 5 } }
    template { source = "/s.ctmpl"
               destination = "/d"
               perms = "0600"
               error_on_missing_key = true
               command = "systemctl reload nginx" }
    template { contents = "x"
               destination = "/e"
               exec { command = ["kill -HUP $(cat /pid)"]
                      timeout = "5s" } }
    template_config { exit_on_retry_failure = true
                      static_secret_render_interval = "10m"
                      max_connections_per_host = 10
                      lease_renewal_threshold = 0.9 }
    telemetry { disable_hostname = true }`);
  expect(file).toMatchObject({ retries: 5, renewAt: 0.9, templateConfig: { exit_on_retry_failure: true } });
  expect(file.templates.map(({ hooks }) => [hooks.command, hooks.commandSeconds])).toEqual([
    [["systemctl", "reload", "nginx"], 30],
    [["/bin/sh", "-c", "kill -HUP $(cat /pid)"], 5],
  ]);
  expect(file.templates[0]).toMatchObject({ mode: "0600", errorOnMissingKey: true, createDirectories: true });
  expect(file.warnings).toHaveLength(2);
  expect(file.warnings[0]).toContain("agent.hcl line 17: max_connections_per_host has no effect");
});

it.each([
  ['vault { adress = "x" }', 'agent.hcl: At 1:9: vault has no setting "adress"; did you mean "address"?'],
  ["nonsense = 1", 'the configuration has no setting "nonsense"'],
  ['auto_auth { method "gcp" { } }', 'the auto-auth type "gcp" is not known here; there are kubernetes, jwt, approle'],
  ["auto_auth { }", 'auto_auth has no method; write method "approle"'],
  [`auto_auth { ${METHOD} ${METHOD} }`, "there are two method blocks"],
  [`auto_auth { ${METHOD} sink "s3" { } }`, 'the sink type "s3" is not known here'],
  [`auto_auth { ${METHOD} sink "file" { } }`, "config of a sink has no path"],
  [
    `auto_auth { ${METHOD} sink "file" { dh_type = "curve25519" } }`,
    "dh_type is refused: tokens in sinks are not encrypted",
  ],
  ['auto_auth { method "token_file" { config = { token_fil = "/t" } } }', 'has no setting "token_fil"'],
  ['template { contents = "x" }', "template has no destination"],
  ['template { destination = "/d" }', "must have either contents or source"],
  [
    'template { contents = "x"\n destination = "/d"\n perms = "0999" }',
    'perms must be octal permissions such as "0640"',
  ],
  ['template { contents = "x"\n destination = "/d" }', "templates need a token"],
  ['env_template "1A" { contents = "x" }', '"1A" is no name of a variable'],
  [`env_template "A" { contents = "x" }\nauto_auth { ${METHOD} }`, "write an exec stanza"],
  ['vault { client_cert = "/c" }', "client_cert and client_key go together"],
  ['exec { restart_stop_signal = "SIGNONE" }', 'there is no signal "SIGNONE"'],
  ["template_config { lease_renewal_threshold = 2 }", "lease_renewal_threshold must be a number between 0 and 1"],
])("refuses %s: %s", (text, message) => {
  expect(() => parse(text)).toThrow(message);
});

it.each([
  ['http = "http://10.0.0.1/reload"', "is another machine; use 127.0.0.1, or set remote = true"],
  ['http = "ftp://127.0.0.1/"', "http must be a URL"],
  ['signal = "SIGHUP"', "signal and process go together"],
  ['signal = "SIGNO"\nprocess = "nginx"', 'there is no signal "SIGNO"'],
])("refuses notify { %s }", (text, message) => {
  const stanza = `template { contents = "x"\n destination = "/d"\n notify { ${text} } }`;
  expect(() => withAuth(stanza)).toThrow(message);
});

it("has a sentence for every setting", () => {
  const all = STANZAS.flatMap((stanza) => [stanza, ...(stanza.blocks ?? [])]);
  for (const { doc, fields } of all)
    for (const each of [doc, ...Object.values(fields).map((field) => field.doc)]) expect(each).not.toBe("");
});
