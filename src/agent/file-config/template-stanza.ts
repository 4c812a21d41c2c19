// The template stanza: what is rendered, where to, and who is told.
import { constants } from "node:os";
import { readFields } from "#common/hcl/config-fields.ts";
import { type HclBlock, hclError, type Position } from "#common/hcl/syntax-tree.ts";
import { hostAndPort, isLoopback } from "../proxy/listen-address.ts";
import { oneBlock } from "./loose-blocks.ts";
import { COMMAND_FIELDS, NOTIFY_FIELDS, TEMPLATE_FIELDS } from "./stanzas.ts";

/** What follows a change of a file. */
export interface ChangeHooks {
  readonly command: readonly string[];
  readonly commandSeconds: number;
  readonly http: string | undefined;
  readonly httpSeconds: number;
  readonly signal: { readonly signal: string; readonly process: string } | undefined;
}

export interface TemplateStanza {
  /** One of the two is there. */
  readonly contents: string | undefined;
  readonly source: string | undefined;
  readonly left: string;
  readonly right: string;
  readonly errorOnMissingKey: boolean;
  readonly destination: string;
  readonly createDirectories: boolean;
  readonly mode: string;
  readonly user: string | undefined;
  readonly group: string | undefined;
  readonly backup: boolean;
  readonly hooks: ChangeHooks;
}

interface TextValues {
  readonly contents: string | undefined;
  readonly source: string | undefined;
  readonly left_delimiter: string;
  readonly right_delimiter: string;
  readonly error_on_missing_key: boolean;
}

/** What all templates have. Throws when there is neither text nor file, or both. */
export function templateText(values: TextValues, where: string, position: Position) {
  const { contents, source, left_delimiter: left, right_delimiter: right, error_on_missing_key } = values;
  if ((contents === undefined) === (source === undefined))
    throw hclError(position, `${where} must have either contents or source`);
  return { contents, source, left, right, errorOnMissingKey: error_on_missing_key };
}

export function readTemplate({ body, position }: HclBlock, warnings: string[]): TemplateStanza {
  const blocks = ["exec", "notify"];
  const values = readFields(body, TEMPLATE_FIELDS, { where: "template", alsoKnown: blocks, warnings });
  if (values.destination === undefined) throw hclError(position, "template has no destination");
  const exec = oneBlock(body, "exec");
  const command = exec && readFields(exec.body, COMMAND_FIELDS, { where: "exec of a template", warnings });
  if (command !== undefined && values.command.length > 0)
    throw hclError(position, "template has both command and exec; leave command out");
  const notify = oneBlock(body, "notify");
  const told = notify && readFields(notify.body, NOTIFY_FIELDS, { where: "notify of a template", warnings });
  if (told !== undefined) checkNotify(told, notify?.position ?? position);
  return {
    ...templateText(values, "template", position),
    ...{ destination: values.destination, createDirectories: values.create_dest_dirs, mode: values.perms },
    ...{ user: values.user, group: values.group, backup: values.backup },
    hooks: {
      command: command?.command ?? values.command,
      commandSeconds: command?.timeout ?? values.command_timeout,
      http: told?.http,
      httpSeconds: told?.timeout ?? 0,
      signal:
        told?.signal === undefined || told.process === undefined
          ? undefined
          : { signal: told.signal, process: told.process },
    },
  };
}

interface NotifyValues {
  readonly http: string | undefined;
  readonly remote: boolean;
  readonly signal: string | undefined;
  readonly process: string | undefined;
}

function checkNotify({ http, remote, signal, process: name }: NotifyValues, position: Position): void {
  if ((signal === undefined) !== (name === undefined))
    throw hclError(position, "notify: signal and process go together");
  if (signal !== undefined && !Object.hasOwn(constants.signals, signal))
    throw hclError(position, `notify: there is no signal "${signal}"; write it as SIGHUP`);
  if (http === undefined) return;
  const url = URL.parse(http);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw hclError(position, "notify: http must be a URL such as http://127.0.0.1:9000/-/reload");
  if (!remote && !isLoopback(hostAndPort(`${url.hostname}:${url.port || "80"}`).host))
    throw hclError(position, `notify: ${url.host} is another machine; use 127.0.0.1, or set remote = true`);
}
