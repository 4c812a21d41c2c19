// Files that get the agent's token, each time there is another one; wrapped where a sink says so, as the JSON that
// Vault's agent writes. One sink that fails keeps no other from its token.
import { resolve } from "node:path";
import type { ApiClient } from "#client/api-client.ts";
import type { WrapInfo } from "#client/envelope.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { writeFileAtomically } from "../write-file.ts";
import type { SinkStanza } from "./auto-auth.ts";

export interface TokenSinks {
  readonly sinks: readonly SinkStanza[];
  readonly client: ApiClient;
  readonly cwd: string;
  readonly log: Log;
}

/** Never rejects: what fails is in the log. */
export async function writeToken(token: string, { sinks, client, cwd, log }: TokenSinks): Promise<void> {
  for (const sink of sinks) {
    try {
      const content = sink.wrapTtlSeconds === undefined ? token : await wrapped(token, sink.wrapTtlSeconds, client);
      await writeSink(sink, content, cwd);
      log.info("token written", { path: sink.path });
    } catch (error) {
      log.error("the token cannot be written", { path: sink.path, reason: messageOf(error) });
    }
  }
}

/** A token that was wrapped at the login. Rejects as writing does. */
export async function writeWrapped(info: WrapInfo, { sinks, cwd }: Omit<TokenSinks, "client">): Promise<void> {
  for (const sink of sinks) await writeSink(sink, JSON.stringify(info), cwd);
}

async function writeSink({ path, mode, owner, group }: SinkStanza, content: string, cwd: string): Promise<void> {
  await writeFileAtomically(resolve(cwd, path), content, Number.parseInt(mode, 8), { owner, group });
}

async function wrapped(token: string, seconds: number, client: ApiClient): Promise<string> {
  const answer = await client.write("sys/wrapping/wrap", { token }, { token, wrapTtl: `${seconds}s` });
  if (answer.wrap_info === undefined) throw new CofferError("upstream_failed", "the server did not wrap the token");
  return JSON.stringify(answer.wrap_info);
}
