// The page at which users log in for an OpenID Connect client: what a provider's discovery document calls its
// authorization endpoint. It holds no secret and decides nothing; it asks the API for a token and then for a code, and
// sends the browser back to the client with it. The API has checked the address it sends to.
import { createHash } from "node:crypto";

/** Where the discovery document points; the rest of the query is the client's request. */
export const AUTHORIZE_PAGE_PATH = "/ui/vault/identity/oidc/provider/:name/authorize";

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:24em;margin:4em auto;padding:0 1em}
label{display:block;margin:.5em 0}input{font:inherit;width:100%;box-sizing:border-box}
button{font:inherit;margin-top:1em}[role=alert]{color:#a00}`;

const SCRIPT = `"use strict";
const form = document.forms[0];
const say = (text) => { document.querySelector("[role=alert]").textContent = text; };
const call = async (path, headers, body) => {
  const method = body ? "POST" : "GET";
  const answer = await fetch("/v1/" + path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  const json = await answer.json();
  if (answer.ok) return json;
  throw new Error(json.error_description || (json.errors || []).join("; ") || "the server answered " + answer.status);
};
const logIn = async () => {
  if (form.token.value) return form.token.value;
  const mount = form.mount.value.split("/").map(encodeURIComponent).join("/");
  const path = "auth/" + mount + "/login/" + encodeURIComponent(form.username.value);
  const { auth } = await call(path, {}, { password: form.password.value });
  if (auth.client_token) return auth.client_token;
  const { mfa_request_id, mfa_constraints } = auth.mfa_requirement;
  const methods = Object.values(mfa_constraints).map((constraint) => constraint.any[0].id);
  const mfa_payload = Object.fromEntries(methods.map((id) => [id, [form.passcode.value]]));
  return (await call("sys/mfa/validate", {}, { mfa_request_id, mfa_payload })).auth.client_token;
};
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  try {
    const token = await logIn();
    const provider = location.pathname.split("/").at(-2);
    const path = "identity/oidc/provider/" + provider + "/authorize" + location.search;
    const { code, state } = await call(path, { "X-Vault-Token": token });
    const back = new URL(new URLSearchParams(location.search).get("redirect_uri"));
    back.searchParams.set("code", code);
    if (state !== undefined) back.searchParams.set("state", state);
    location.replace(back);
  } catch (error) {
    say(error.message);
  }
});`;

export const AUTHORIZE_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Log in · Coffer</title><style>${STYLE}</style>
<h1>Log in</h1>
<form method="post">
<label>Auth method's path <input name="mount" value="userpass"></label>
<label>User name <input name="username" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<label>Passcode, if one is asked of you <input name="passcode" inputmode="numeric" autocomplete="one-time-code"></label>
<label>Or a token <input name="token" type="password" autocomplete="off"></label>
<p role="alert"></p>
<button>Log in</button>
</form>
<script>${SCRIPT}</script>
</html>
`;

const hashSource = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** Only this page's own script and style run, it talks to this server alone, and no other page may frame it. */
export function authorizePagePolicy(): string {
  return [
    "default-src 'none'",
    `script-src ${hashSource(SCRIPT)}`,
    `style-src ${hashSource(STYLE)}`,
    "connect-src 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join("; ");
}
