// `login`: by a token, or by userpass, approle or kubernetes, whose answer's token is stored for later commands. Adding a
// method is a line in METHODS.
import { readFile } from "node:fs/promises";
import { requireAuth, SERVICE_ACCOUNT_TOKEN_FILE } from "#client/kubernetes-login.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import type { CliIo } from "../cli-io.ts";
import { defineCommand } from "../command.ts";
import { readKeyValues, readValue } from "../key-values.ts";
import { writeTokenFile } from "../settings.ts";

interface LoginCall {
  /** Behind the mount: "login/ann". */
  readonly path: string;
  readonly body: JsonObject;
}
type Method = (data: JsonObject, io: CliIo) => Promise<LoginCall>;

const METHODS: Readonly<Record<string, Method>> = {
  async userpass(data, io) {
    const { username = io.env["USER"], password, ...rest } = data;
    const body = { ...rest, password: password ?? (await io.askSecret("Password (will be hidden): ")) };
    return { path: `login/${required("username", username)}`, body };
  },
  async approle(data) {
    required("role_id", data["role_id"]);
    return { path: "login", body: data };
  },
  async kubernetes(data) {
    required("role", data["role"]);
    return { path: "login", body: { ...data, jwt: data["jwt"] ?? (await ownToken()) } };
  },
};

export const login = defineCommand({
  name: "login",
  summary: "Logs in and stores the token for later commands (~/.vault-token).",
  usage: "[token] [key=value...]",
  examples: ["login", "login -method=userpass username=ann", "login -method=approle role_id=… secret_id=@secret-id"],
  flags: {
    method: { kind: "text", help: "token (the default), userpass, approle or kubernetes." },
    path: { kind: "text", help: "Mount of the auth method, when it is not named as the method." },
    "no-store": { kind: "switch", help: "Do not store the token." },
    "token-only": { kind: "switch", help: "Print only the token, and do not store it." },
  },
  args: [0, Number.POSITIVE_INFINITY],
  async run({ client, flags, args, io, print }) {
    const name = flags.method ?? "token";
    if (name === "token") {
      const token = await givenToken(args, io);
      const answer = await client.read("auth/token/lookup-self", { token });
      if (flags["token-only"]) return printToken(token, io);
      if (!flags["no-store"]) await writeTokenFile(io, token);
      print.note(WELCOME);
      const data = isJsonObject(answer.data) ? { ...answer.data, token } : { token };
      await print.answer({ ...answer, data }, { data });
      return 0;
    }
    const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
    if (method === undefined) throw unknownMethod(name);
    const call = await method(await readKeyValues(args, io), io);
    const path = `auth/${(flags.path ?? name).replace(/^\/+|\/+$/g, "")}/${call.path}`;
    const answer = await client.write(path, call.body, { token: "" });
    // With -wrap-ttl the token is inside a wrapping token, and there is nothing to store.
    if (answer.wrap_info === undefined) {
      const auth = requireAuth(client, path, answer.auth);
      if (flags["token-only"]) return printToken(auth.client_token, io);
      if (!flags["no-store"]) await writeTokenFile(io, auth.client_token);
      print.note(WELCOME);
    }
    await print.answer(answer);
    return 0;
  },
});

const WELCOME = "Success! You are now authenticated.\n";

async function givenToken(args: readonly string[], io: CliIo): Promise<string> {
  const [first] = args;
  if (args.length > 1) throw new CofferError("invalid_request", "with -method=token there is one argument, the token");
  const given = first?.replace(/^token=/, "");
  const text = given === undefined ? await io.askSecret("Token (will be hidden): ") : await readValue(given, io);
  if (text.trim() === "") throw new CofferError("invalid_request", "the token is empty");
  return text.trim();
}

function printToken(token: string, io: CliIo): number {
  io.stdout.write(io.isTerminal ? `${token}\n` : token);
  return 0;
}

function unknownMethod(name: string): CofferError {
  const known = ["token", ...Object.keys(METHODS)].join(", ");
  return new CofferError("invalid_request", `the login method "${name}" is unknown; use one of ${known}`);
}

function required(key: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new CofferError("invalid_request", `this login method needs ${key}=…`);
}

async function ownToken(): Promise<string> {
  try {
    return (await readFile(SERVICE_ACCOUNT_TOKEN_FILE, "utf8")).trim();
  } catch (cause) {
    throw new CofferError("invalid_request", `give jwt=@file; there is no ServiceAccount token (${messageOf(cause)})`);
  }
}
