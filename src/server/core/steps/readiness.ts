// Step "readiness": while the server is sealed only paths that say so are answered.
import { CofferError } from "#common/errors.ts";
import type { CoreServices, RequestState } from "../request-state.ts";

export async function readiness(state: RequestState, services: CoreServices): Promise<void> {
  if (state.tx || state.route?.definition?.when === "always") return;
  if ((await services.node.refresh()) === "uninitialised") {
    throw new CofferError(
      "uninitialized",
      "server is not yet initialized; run 'coffer operator init' or POST sys/init",
    );
  }
  throw new CofferError("sealed", "Vault is sealed");
}
