// The auto_auth stanza: how to log in, and the files that get the token.
import { readFields } from "#common/hcl/config-fields.ts";
import { type HclObject, hclError, keyOf, type Position, toJson } from "#common/hcl/syntax-tree.ts";
import type { Login, LoginPlace } from "../auth/auth-method.ts";
import { authMethods } from "../auth/registry.ts";
import { looseBlocks, oneBlock } from "./loose-blocks.ts";
import { FILE_SINK_FIELDS, METHOD_FIELDS, SINK_FIELDS, SINK_REFUSED } from "./stanzas.ts";

export interface SinkStanza {
  readonly path: string;
  readonly mode: string;
  readonly owner: number | undefined;
  readonly group: number | undefined;
  readonly wrapTtlSeconds: number | undefined;
}

export interface AutoAuth {
  readonly type: string;
  /** "auth/approle", without slashes at its ends. */
  readonly mountPath: string;
  readonly namespace: string | undefined;
  readonly wrapTtlSeconds: number | undefined;
  readonly minBackoffSeconds: number;
  readonly maxBackoffSeconds: number;
  readonly exitOnError: boolean;
  /** Equal where the settings of the type are. */
  readonly configText: string;
  readonly login: (place: LoginPlace) => Login;
  readonly sinks: readonly SinkStanza[];
}

export function readAutoAuth(document: HclObject, warnings: string[]): AutoAuth | undefined {
  const block = oneBlock(document, "auto_auth");
  if (block === undefined) return undefined;
  const blocks = ["method", "sink", "sinks"];
  readFields(block.body, {}, { where: "auto_auth", alsoKnown: blocks, warnings });
  const method = oneBlock(block.body, "method", [...Object.keys(METHOD_FIELDS), "config"]);
  if (method === undefined) throw hclError(block.position, 'auto_auth has no method; write method "approle" { … }');
  const values = readFields(method.body, METHOD_FIELDS, { where: "method", alsoKnown: ["config"], warnings });
  const type = method.label ?? values.type ?? "";
  const known = authMethods.find((each) => each.type === type.replaceAll("-", "_"));
  if (known === undefined) {
    const all = authMethods.map((each) => each.type).join(", ");
    throw hclError(method.position, `the auto-auth type "${type}" is not known here; there are ${all}`);
  }
  if (values.min_backoff > values.max_backoff)
    throw hclError(method.position, "method: min_backoff must not be above max_backoff");
  const config = configOf(method.body, method.position);
  return {
    type,
    mountPath: (values.mount_path ?? `auth/${type}`).replace(/^\/+|\/+$/g, ""),
    namespace: values.namespace,
    wrapTtlSeconds: values.wrap_ttl === 0 ? undefined : values.wrap_ttl,
    minBackoffSeconds: Math.max(values.min_backoff, 1),
    maxBackoffSeconds: Math.max(values.max_backoff, 1),
    exitOnError: values.exit_on_err,
    configText: JSON.stringify(toJson(config)),
    login: known.read(config, { where: `config of method "${type}"`, warnings }),
    sinks: readSinks(block.body, warnings),
  };
}

function configOf(body: HclObject, position: Position): HclObject {
  return oneBlock(body, "config")?.body ?? { kind: "object", items: [], position };
}

function readSinks(body: HclObject, warnings: string[]): readonly SinkStanza[] {
  const known = [...Object.keys(SINK_FIELDS), ...SINK_REFUSED.keys(), "config"];
  const wrapped = looseBlocks(body, "sinks").map((block) => block.body);
  return [body, ...wrapped]
    .flatMap((object) => looseBlocks(object, "sink", known))
    .map(({ label, body: sink, position }) => {
      for (const item of sink.items) {
        const refusal = SINK_REFUSED.get(keyOf(item).text);
        if (refusal !== undefined) throw hclError(keyOf(item).position, `sink: ${keyOf(item).text} is ${refusal}`);
      }
      const values = readFields(sink, SINK_FIELDS, { where: "sink", alsoKnown: ["config"], warnings });
      const type = label ?? values.type;
      if (type !== "file") throw hclError(position, `the sink type "${type ?? ""}" is not known here; there is file`);
      const config = configOf(sink, position);
      const file = readFields(config, FILE_SINK_FIELDS, { where: "config of a sink", warnings });
      if (file.path === undefined) throw hclError(position, "config of a sink has no path");
      const wrapTtlSeconds = values.wrap_ttl === 0 ? undefined : values.wrap_ttl;
      return { path: file.path, mode: file.mode, owner: file.owner, group: file.group, wrapTtlSeconds };
    });
}
