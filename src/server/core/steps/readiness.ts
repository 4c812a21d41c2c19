// Step "readiness": while the server is sealed only paths that say so are answered.
import { CofferError } from "#common/errors.ts";
import type { CoreServices, RequestState } from "../request-state.ts";

export function readiness(state: RequestState, services: CoreServices): Promise<void> | undefined {
  return state.tx || state.route?.definition?.when === "always" ? undefined : refuse(services);
}

async function refuse(services: CoreServices): Promise<void> {
  if ((await services.node.refresh()) === "uninitialised") {
    throw new CofferError(
      "uninitialized",
      "server is not yet initialized; run 'coffer operator init' or POST sys/init",
    );
  }
  throw new CofferError("sealed", "Vault is sealed");
}
