// The small listener beside a program's real work: /healthz (is the process sound), /readyz (may it get traffic),
// /metrics. Plain HTTP, for kubelet and Prometheus; it tells nothing that is secret.
import { createServer, type Server } from "node:http";
import express, { type Express, type Request, type Response } from "express";
import { CofferError, messageOf } from "#common/errors.ts";
import { METRICS_CONTENT_TYPE, type Metrics } from "#common/metrics.ts";

/** Named questions; all have to be answered with true. */
export type HealthChecks = Readonly<Record<string, () => boolean>>;

export interface HealthServerOptions {
  /** Asked by /healthz: a false answer makes kubelet restart the container. */
  readonly live?: HealthChecks | undefined;
  /** Asked by /readyz, besides those of `live`. */
  readonly ready?: HealthChecks | undefined;
  readonly metrics?: Metrics | undefined;
}

export interface HealthServer extends AsyncDisposable {
  readonly port: number;
}

/** Probes and scrapers are few; more connections than this are somebody else's. */
const CONNECTIONS_MAX = 64;

/** The routes, to be mounted or listened with. */
export function createHealthApp({ live = {}, ready = {}, metrics }: HealthServerOptions): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.get("/healthz", (request, response) => answer(request, response, live));
  app.get("/readyz", (request, response) => answer(request, response, { ...live, ...ready }));
  if (metrics !== undefined)
    app.get("/metrics", (_request, response) => {
      response.set("content-type", METRICS_CONTENT_TYPE).send(metrics.render());
    });
  return app;
}

/** Listens; port 0 chooses one. Throws `unavailable` when the port cannot be had. */
export async function startHealthServer(
  options: HealthServerOptions & { readonly host?: string; readonly port: number },
): Promise<HealthServer> {
  const server = createServer(createHealthApp(options));
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, options.host ?? "::", options.port);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new CofferError("unavailable", `cannot listen on port ${port}: ${messageOf(error)}`, { cause: error })),
    );
    server.listen(port, host, resolve);
  });
}

/** One line per check, as the API server's own /readyz?verbose has them. */
function answer(_request: Request, response: Response, checks: HealthChecks): void {
  const results = Object.entries(checks).map(([name, check]) => ({ name, passed: passes(check) }));
  const lines = results.map(({ name, passed }) => (passed ? `[+]${name} ok` : `[-]${name} failed`));
  const healthy = results.every(({ passed }) => passed);
  response
    .status(healthy ? 200 : 503)
    .set({ "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" })
    .send(`${[...lines, healthy ? "ok" : "not ok"].join("\n")}\n`);
}

function passes(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    // A check that cannot tell is a check that failed; its owner logs why.
    return false;
  }
}
