// An HSM as commands work at it: through the process and the library that the seal would use, and through AWS's API.
import type { Clock } from "#common/clock.ts";
import type { KeyMachine, TokenStatus } from "../key-machine.ts";
import { createMachineCluster } from "./cloudhsm/machine-cluster.ts";
import type { Pkcs11Config } from "./config.ts";
import { HsmClient } from "./hsm-client.ts";

/** Nothing is loaded or contacted before the first call. */
export function createHsmMachine(config: Pkcs11Config, { clock }: { readonly clock: Clock }): KeyMachine {
  const client = new HsmClient(config, clock);
  const described = async (kind: "describe" | "create-key"): Promise<TokenStatus> => {
    const { status } = await client.ask({ kind }, "described");
    return { library: config.library, ...status };
  };
  const cluster = config.cloudHsm && createMachineCluster(config.cloudHsm, clock);
  return {
    cluster,
    status: () => described("describe"),
    createKey: () => described("create-key"),
    close: async () => {
      await Promise.all([client.close(), cluster?.close()]);
    },
  };
}
