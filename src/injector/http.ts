// The webhook's HTTP side: one path that takes admission reviews. TLS and listening are the caller's.
import express, { type Express, type Request, type Response } from "express";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { ADMISSION_BODY_BYTES_MAX, encodeAdmissionReview, parseAdmissionReview } from "#kube/admission.ts";
import type { Catalog } from "./catalog.ts";
import { type Outcome, review } from "./review.ts";
import type { InjectorSettings } from "./settings.ts";

export interface WebhookOptions {
  readonly catalog: Catalog;
  readonly settings: InjectorSettings;
  readonly log: Log;
  readonly onOutcome: (outcome: Outcome, seconds: number) => void;
}

/** An express application that answers POST /mutate. */
export function createWebhook(options: WebhookOptions): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  const body = express.raw({ type: () => true, limit: ADMISSION_BODY_BYTES_MAX });
  app.post("/mutate", body, (request, response) => answer(request, response, options));
  app.use((_request: Request, response: Response) => {
    response.status(404).type("text/plain").send("only POST /mutate is served here\n");
  });
  app.use((error: unknown, _request: Request, response: Response, _next: unknown) => {
    refuse(response, error, options.log);
  });
  return app;
}

/** Until both kinds have been listed nothing can be decided; the API server then tells the user to try again. */
function answer(request: Request, response: Response, { catalog, settings, log, onOutcome }: WebhookOptions): void {
  const startedAt = performance.now();
  try {
    if (!catalog.isSynced()) {
      throw new CofferError("unavailable", "the injector has not read the SecretBindings yet: try again");
    }
    const bytes: unknown = request.body;
    const admission = parseAdmissionReview(bytes instanceof Uint8Array ? bytes : "");
    const decided = review(admission, catalog, settings);
    onOutcome(decided.outcome, (performance.now() - startedAt) / 1000);
    log.debug("reviewed", { namespace: admission.namespace, name: admission.name, outcome: decided.outcome });
    if (decided.outcome === "denied") {
      log.info("denied", { namespace: admission.namespace, name: admission.name, reason: decided.response.message });
    }
    response.type("application/json").send(encodeAdmissionReview(decided.response));
  } catch (error) {
    refuse(response, error, log);
  }
}

function refuse(response: Response, error: unknown, log: Log): void {
  log.warn("a review failed", { error: messageOf(error) });
  response
    .status(statusOf(error))
    .type("text/plain")
    .send(`${messageOf(error)}\n`);
}

/** Errors of the body parser carry their own status. */
function statusOf(error: unknown): number {
  if (error instanceof CofferError) return error.status;
  const status = typeof error === "object" && error !== null && "status" in error ? error.status : undefined;
  return typeof status === "number" && status >= 400 && status < 500 ? status : 500;
}
