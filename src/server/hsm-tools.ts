// Opens the machine that holds a seal's key, for `coffer operator hsm`: from the server's configuration, as the server
// would reach it, and without a server.
import { CofferError } from "#common/errors.ts";
import { type ConfigFile, parseServerConfig } from "./config/server-config.ts";
import type { KeyMachine } from "./seal/key-machine.ts";
import { findSealType } from "./seal/registry.ts";
import type { SealDependencies } from "./seal/seal-types.ts";

export interface OpenMachineOptions {
  readonly files: readonly ConfigFile[];
  /** Name of the seal; undefined where there is only one whose key is in a machine. */
  readonly seal: string | undefined;
  readonly dependencies: Omit<SealDependencies, "clusterName" | "background">;
}

/** The machine and the name of its seal. Throws `invalid_request` when the configuration does not say which. */
export function openKeyMachine(options: OpenMachineOptions): { readonly machine: KeyMachine; readonly seal: string } {
  const { clusterName, seals } = parseServerConfig(options.files);
  const fitting = seals.filter(({ type }) => findSealType(type).machine !== undefined);
  const wanted = fitting.filter(({ name }) => options.seal === undefined || name === options.seal);
  const [stanza] = wanted;
  const machine = stanza && wanted.length === 1 && findSealType(stanza.type).machine;
  if (!machine || !stanza)
    throw unclear(
      fitting.map(({ name }) => name),
      options.seal,
    );
  return { seal: stanza.name, machine: machine(stanza.config, { ...options.dependencies, clusterName }) };
}

function unclear(names: readonly string[], wanted: string | undefined): CofferError {
  const known = names.join(", ");
  if (names.length === 0)
    return new CofferError("invalid_request", 'the configuration has no seal whose key is in an HSM (seal "pkcs11")');
  const problem =
    wanted === undefined ? "the configuration has several seals of HSMs" : `there is no seal ${wanted} of an HSM`;
  return new CofferError("invalid_request", `${problem}: give -seal as one of ${known}`);
}
