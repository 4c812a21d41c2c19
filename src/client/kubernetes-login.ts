// Login with a ServiceAccount's token: POST auth/<mount>/login {role, jwt}. A pod's own token comes from a file that is
// read afresh at each login, because kubelet replaces it before it expires.
import { readFile } from "node:fs/promises";
import { CofferError, messageOf } from "#common/errors.ts";
import type { ApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import type { Auth } from "./envelope.ts";

export interface KubernetesLogin {
  /** Mount of the auth method, without "auth/": "kubernetes". */
  readonly mount: string;
  readonly role: string;
  readonly tokenFile: string;
}

/** Where kubelet puts the token of a pod's ServiceAccount. */
export const SERVICE_ACCOUNT_TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** Logs in. Throws ApiError when the server refuses, `unavailable` when the token file cannot be read. */
export async function loginWithKubernetes(
  client: ApiClient,
  login: KubernetesLogin,
  signal?: AbortSignal,
): Promise<Auth> {
  return loginWithToken(client, { ...login, jwt: await readToken(login.tokenFile) }, signal);
}

/** The same with a token at hand. Throws ApiError when the server refuses. */
export async function loginWithToken(
  client: ApiClient,
  login: { readonly mount: string; readonly role: string; readonly jwt: string },
  signal?: AbortSignal,
): Promise<Auth> {
  const path = `auth/${login.mount.replace(/^\/+|\/+$/g, "")}/login`;
  const answer = await client.write(path, { role: login.role, jwt: login.jwt }, { token: "", signal });
  return requireAuth(client, path, answer.auth);
}

/** The auth block of a login's answer; an answer without one is an ApiError. */
export function requireAuth(client: ApiClient, path: string, auth: Auth | undefined): Auth {
  if (auth !== undefined && auth.client_token !== "") return auth;
  const errors = ["a login was answered without a token"];
  throw new ApiError({ method: "PUT", path, address: client.address, status: 0, errors, connection: "malformed" });
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (cause) {
    throw new CofferError("unavailable", `cannot read the ServiceAccount token: ${messageOf(cause)}`, { cause });
  }
}
