// What is not the API: pages for people who open the address in a browser. Express serves it, off the hot path, and is
// loaded when somebody opens one: it takes 80 ms of processor time, a quarter of a server's start (measured).
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Express } from "express";
import { AUTHORIZE_PAGE, AUTHORIZE_PAGE_PATH, authorizePagePolicy } from "./authorize-page.ts";

type Headers = () => Promise<Readonly<Record<string, readonly string[]>>>;

/** `headers`: what an administrator wants pages to be sent with besides. */
export function createPages(headers: Headers): (request: IncomingMessage, response: ServerResponse) => void {
  let pages: Promise<Express> | undefined;
  return (request, response) => {
    pages ??= loadPages(headers);
    pages.then(
      (app) => app(request, response),
      // Only a damaged installation comes here; the next one who asks tries again.
      () => {
        pages = undefined;
        response.writeHead(500, { "Cache-Control": "no-store" }).end();
      },
    );
  };
}

async function loadPages(headers: Headers): Promise<Express> {
  const { default: express } = await import("express");
  const app = express();
  app.disable("x-powered-by");
  app.get("/", (_request, response) => response.redirect(307, "/ui/"));
  app.get(["/ui", "/ui/"], async (_request, response) => {
    response.set({
      "Cache-Control": "no-store",
      "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
      "X-Content-Type-Options": "nosniff",
    });
    for (const [name, values] of Object.entries(await headers())) response.setHeader(name, values);
    response.type("html").send(PAGE);
  });
  app.get(AUTHORIZE_PAGE_PATH, async (_request, response) => {
    response.set({
      "Cache-Control": "no-store",
      "Content-Security-Policy": authorizePagePolicy(),
      "Referrer-Policy": "no-referrer",
      "X-Content-Type-Options": "nosniff",
    });
    for (const [name, values] of Object.entries(await headers())) response.setHeader(name, values);
    response.type("html").send(AUTHORIZE_PAGE);
  });
  app.use((_request, response) => {
    response.status(404).set("Cache-Control", "no-store").type("json").send('{"errors":[]}\n');
  });
  return app;
}

const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Coffer</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}code{background:#eee;padding:.1em .3em}</style>
<h1>Coffer</h1>
<p>This server speaks the Vault v1 HTTP API. Its state: <a href="/v1/sys/seal-status">seal status</a>, <a href="/v1/sys/health">health</a>.</p>
<p>Use it with <code>coffer</code> or any client of Vault: set <code>VAULT_ADDR</code> to this page's address without <code>/ui/</code>.</p>
</html>
`;
