// `coffer exec -env NAME=path#key -- COMMAND`: a program with secrets named on the command line, read with the token of
// whoever runs it. That token is not revoked at the end; credentials that were made for the program are.
import type { ApiClient } from "#client/api-client.ts";
import { requireAuth } from "#client/kubernetes-login.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import { runAgent } from "../agent.ts";
import { lookUpToken } from "../auth/token-file/look-up-token.ts";
import { runSupervised, type Supervised } from "./run-supervised.ts";
import { Variables, variablePath } from "./variables.ts";

export interface NamedExec {
  /** NAME to "path#key". */
  readonly named: Readonly<Record<string, string>>;
  readonly program: Supervised["program"];
  /** For the token's calls. */
  readonly client: ApiClient;
  readonly token: string;
  readonly refreshSeconds: number;
  readonly log: Log;
  readonly io: ProgramIo;
}

const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Attempts of the first reading: a person waits for it. */
const ATTEMPTS_MAX = 3;

/** Gives the program's exit status. Throws `invalid_request` naming the variable, or when a secret is not there. */
export async function execNamed({
  named,
  program,
  client,
  token,
  refreshSeconds,
  log,
  io,
}: NamedExec): Promise<number> {
  const variables = new Variables();
  const config = configOf(client, named, refreshSeconds);
  const anonymous = client.with({ token: undefined });
  return runSupervised({
    ...{ program, variables, io, log, forwardsHangup: true },
    agent: (signal, onDelivered) =>
      runAgent({
        ...{ config, client: anonymous, clock: io.clock, log, signal, variables: {} },
        ...{ write: variables.write, onDelivered, attemptsMax: ATTEMPTS_MAX, revokesLeases: true },
        login: async (abort) => {
          const { auth } = await lookUpToken(anonymous, token, abort);
          return requireAuth(anonymous, "auth/token/lookup-self", auth);
        },
      }),
  });
}

function configOf(client: ApiClient, named: NamedExec["named"], refreshSeconds: number): AgentConfig {
  const wanted = Object.entries(named).map(([name, place]) => ({ name, ...placeOf(name, place) }));
  const paths = [...new Set(wanted.map(({ path }) => path))];
  return {
    address: client.address,
    auth: { mount: "token", role: "", tokenFile: "" },
    sources: paths.map((path) => ({ name: path, path, version: 0, optional: false })),
    files: wanted.map(({ name, path, key }) => ({
      ...{ path: variablePath(name), source: path, format: "Raw", key, mode: "0600" },
    })),
    environments: [],
    mode: "Sidecar",
    refreshIntervalSeconds: refreshSeconds,
    jitterPercent: 10,
    revokeOnExit: false,
    readyFile: "",
    labels: {},
  };
}

function placeOf(name: string, place: string): { readonly path: string; readonly key: string } {
  if (!VARIABLE_NAME.test(name)) throw new CofferError("invalid_request", `"${name}" is no name of a variable`);
  const at = place.lastIndexOf("#");
  const path = place.slice(0, at).replace(/^\/+|\/+$/g, "");
  const key = place.slice(at + 1);
  if (at > 0 && path !== "" && key !== "") return { path, key };
  throw new CofferError("invalid_request", `-env ${name}=… must be path#key, such as ${name}=secret/team/db#password`);
}
