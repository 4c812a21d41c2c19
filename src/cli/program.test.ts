// Finding commands, help, exit codes, hints, and where settings come from.
import { describe, expect, it } from "vitest";
import { cli } from "#test/run-cli.ts";
import { enveloped, refused, startScriptedApi } from "#test/scripted-api.ts";
import { registry } from "./registry.ts";

describe("commands and help", () => {
  it("has a command of the registry's name, a summary and help behind every line", async () => {
    for (const { name, load } of registry) {
      const command = await load();
      expect(command.name).toBe(name);
      expect(command.summary).toMatch(/\.$/);
      expect(command.help).toContain(`Usage: coffer ${name}`);
    }
    expect(new Set(registry.map(({ name }) => name)).size).toBe(registry.length);
  });

  it.each([[[]], [["help"]], [["-h"]], [["--help"]]])("lists all commands for %j", async (argv) => {
    const { code, stdout } = await cli({}, ...argv);
    expect(code).toBe(0);
    expect(stdout).toContain("kv get");
  });

  it("explains one command, and a group", async () => {
    for (const argv of [
      ["kv", "get", "-help"],
      ["help", "kv", "get"],
    ]) {
      expect((await cli({}, ...argv)).stdout).toContain("Usage: coffer kv get [flags] <path>");
    }
    expect(await cli({}, "kv")).toMatchObject({ code: 1, stdout: "" });
    expect((await cli({}, "help", "kv")).stdout).not.toContain("policy");
  });

  it("keeps the Kubernetes operator apart from the operator's subcommands", async () => {
    const wrong = await cli({}, "operator", "unsel");
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('there is no command "operator unsel"');
    expect(wrong.stderr).toContain("operator unseal");
    expect((await cli({}, "help", "operator", "init")).stdout).toContain("coffer operator init");
    expect((await cli({}, "agent", "-x")).stderr).toContain('coffer agent: "-x" is no flag');
  });

  it("says what is wrong with arguments, with the usage, and exits 1", async () => {
    expect(await cli({}, "read")).toMatchObject({
      code: 1,
      stderr: "Error: an argument is missing; usage: coffer read [flags] <path> [key=value...]\n",
    });
    expect((await cli({}, "list", "a", "b")).stderr).toContain('the argument "b" is one too many');
    expect((await cli({}, "read", "-frob", "a")).stderr).toContain("unknown flag -frob");
    expect((await cli({}, "frob")).stderr).toContain('there is no command "frob"');
    expect((await cli({}, "-version")).stdout).toMatch(/^Coffer v\d/);
  });
});

describe("settings", () => {
  it("prefers flags, then COFFER_, VAULT_ and BAO_ variables", async () => {
    await using api = await startScriptedApi(() => enveloped({ a: "1" }));
    const env = { BAO_ADDR: "http://127.0.0.1:1", BAO_TOKEN: "bao", VAULT_NAMESPACE: "v", COFFER_NAMESPACE: "c" };
    await cli({ env: { ...env, VAULT_ADDR: api.address } }, "read", "x");
    await cli({ env }, "read", `-address=${api.address}`, "-token=flag", "-ns=n", "x");
    expect(api.seen.map(({ headers }) => [headers["x-vault-token"], headers["x-vault-namespace"]])).toEqual([
      ["bao", "c"],
      ["flag", "n"],
    ]);
    const json = await cli({ address: api.address, env: { VAULT_FORMAT: "json" } }, "read", "x");
    expect(JSON.parse(json.stdout)).toMatchObject({ data: { a: "1" } });
  });

  it("names a certificate file that is not there, and half a client certificate", async () => {
    expect((await cli({ env: { VAULT_CACERT: "ca.pem" } }, "read", "x")).stderr).toContain("ca.pem");
    expect((await cli({ env: { VAULT_CLIENT_CERT: "/dev/null" } }, "read", "x")).stderr).toContain("go together");
  });
});

describe("errors", () => {
  it.each([
    [403, "See `coffer token lookup`"],
    [503, "See `coffer status`"],
  ])("ends %i with a next step and code 2, and tells no token", async (status, hint) => {
    await using api = await startScriptedApi(() => refused(status, "reason"));
    const { code, stderr } = await cli({ address: api.address, env: { VAULT_TOKEN: "s.hush" } }, "read", "x");
    expect(code).toBe(2);
    expect(stderr).toContain(`Error: GET x: reason (status ${status})`);
    expect(stderr).toContain(hint);
    expect(stderr).not.toContain("hush");
  });

  it("tells a mismatch of http and https", async () => {
    await using api = await startScriptedApi(() => enveloped({}));
    const { code, stderr } = await cli({ address: api.address.replace("http:", "https:") }, "read", "x");
    expect(code).toBe(2);
    expect(stderr).toContain(`try ${api.address}`);
  });
});
