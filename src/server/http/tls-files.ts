// Certificates from files, and their reload without a restart: Kubernetes replaces the files of a Secret by moving a
// symbolic link, so the files are looked at again and again rather than watched by inode.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { SecureContextOptions, TlsOptions, Server as TlsServer } from "node:tls";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { TlsConfig } from "../config/listener-config.ts";

/** kubelet itself takes up to a minute to bring a changed Secret to the pod. */
export const LOOK_MILLIS = 5_000;

export async function readTlsOptions(config: TlsConfig): Promise<TlsOptions> {
  const { cert, key, ca } = await readFiles(config);
  return {
    cert,
    key,
    ...(ca && { ca }),
    minVersion: config.minVersion,
    maxVersion: config.maxVersion,
    requestCert: config.clientCertificates !== "none",
    rejectUnauthorized: config.clientCertificates === "require",
  };
}

async function readFiles(config: TlsConfig): Promise<{ cert: Buffer; key: Buffer; ca: Buffer | undefined }> {
  try {
    const [cert, key] = await Promise.all([readFile(config.certFile), readFile(config.keyFile)]);
    const ca = config.clientCaFile === undefined ? undefined : await readFile(config.clientCaFile);
    return { cert, key, ca };
  } catch (error) {
    throw new CofferError("invalid_request", `the listener's TLS files cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

export interface TlsWatch extends Disposable {
  /** Looks at once. */
  look(): void;
}

/** Gives the server new certificates when the files have changed. A pair that does not fit leaves the old one in use. */
export function watchTlsFiles(
  config: TlsConfig,
  server: Pick<TlsServer, "setSecureContext">,
  services: { readonly log: Log; readonly clock: Clock },
): TlsWatch {
  const stop = new AbortController();
  // A look that is asked for while one is under way comes after it.
  const asked = { by: new AbortController() };
  const rest = async () => {
    await services.clock.sleep(LOOK_MILLIS, AbortSignal.any([asked.by.signal, stop.signal]));
    if (asked.by.signal.aborted) asked.by = new AbortController();
  };
  void look(config, server, { log: services.log, rest }, stop.signal);
  return { look: () => asked.by.abort("asked to look"), [Symbol.dispose]: () => stop.abort() };
}

async function look(
  config: TlsConfig,
  server: Pick<TlsServer, "setSecureContext">,
  { log, rest }: { readonly log: Log; readonly rest: () => Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  let seen = "";
  while (!signal.aborted) {
    try {
      const files = await readFiles(config);
      const now = digest(files);
      if (now !== seen) {
        server.setSecureContext(contextOf(config, files)); // the first time too: they may have changed since the start
        if (seen !== "") log.info("the listener's certificate was reloaded", { file: config.certFile });
      }
      seen = now;
    } catch (error) {
      log.warn("the listener's certificate was not reloaded; the one in use stays", { error: messageOf(error) });
    }
    await rest();
  }
}

function contextOf(
  config: TlsConfig,
  files: { cert: Buffer; key: Buffer; ca: Buffer | undefined },
): SecureContextOptions {
  return {
    cert: files.cert,
    key: files.key,
    ...(files.ca && { ca: files.ca }),
    minVersion: config.minVersion,
    maxVersion: config.maxVersion,
  };
}

function digest(files: { cert: Buffer; key: Buffer; ca: Buffer | undefined }): string {
  const hash = createHash("sha256").update(files.cert).update(files.key);
  return hash.update(files.ca ?? "").digest("hex");
}
