// Functions that ask for secrets, and the environment. What is not known yet is nothing for now; the agent fetches it and
// evaluates again.
import { Fault } from "../fault.ts";
import { type FunctionContext, type Functions, type SecretRequest, takes, takesMany, text } from "../function.ts";
import type { Value } from "../values.ts";

const PATH_MAX = 1024;

export const secretFunctions: Functions = {
  secret: takesMany(1, text, ([path = "", ...pairs], context) => {
    return ask(context, pairs.some((pair) => pair !== "") ? "write" : "read", path, pairs);
  }),
  secrets: takes([text], ([path], context) => ask(context, "list", path, []) ?? []),
  pkiCert: takesMany(1, text, ([path = "", ...pairs], context) => ask(context, "certificate", path, pairs)),
  source: takes([text], ([name], { host }) => host.source(name)),
  env: takes([text], ([name], { host }) => host.environment(name)),
  mustEnv: takes([text], ([name], { host }) => {
    const value = host.environment(name);
    if (value === "") throw new Fault("the variable is not set, or templates may not see it");
    return value;
  }),
  envOrDefault: takes([text, text], ([name, otherwise], { host }) => host.environment(name) || otherwise),
};

function ask({ host }: FunctionContext, verb: SecretRequest["verb"], given: string, pairs: readonly string[]): Value {
  const path = given.replace(/^\/+|\/+$/g, "").replace(/^v1\//, "");
  if (path === "" || path.length > PATH_MAX || path.split("/").includes("..")) {
    throw new Fault("wants the path of a secret, such as secret/data/team/db");
  }
  const parameters = pairs.flatMap((pair): [string, string][] => {
    if (pair === "") return [];
    const at = pair.indexOf("=");
    if (at < 1) throw new Fault("wants parameters in the form name=value");
    return [[pair.slice(0, at).trim(), pair.slice(at + 1).trim()]];
  });
  return host.secret({ verb, path, parameters: new Map(parameters) });
}
