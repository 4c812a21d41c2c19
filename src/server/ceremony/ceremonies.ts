// What several people do together, as the sys mount is given it.
import type { Clock } from "#common/clock.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { type CustodyDependencies, KeyCustody } from "./key-custody.ts";
import { Rekey } from "./rekey.ts";
import { RootGeneration } from "./root-generation.ts";

export interface Ceremonies {
  readonly custody: KeyCustody;
  readonly barrierRekey: Rekey;
  readonly recoveryRekey: Rekey;
  readonly emergencyRekey: Rekey;
  readonly rootGeneration: RootGeneration;
}

export interface CeremonyDependencies extends CustodyDependencies {
  readonly clock: Clock;
  /** Makes a root token and gives its text. */
  writeRootToken(tx: Transaction): Promise<string>;
}

export function createCeremonies(dependencies: CeremonyDependencies): Ceremonies {
  const { barrier, clock, writeRootToken } = dependencies;
  const custody = new KeyCustody(dependencies);
  return {
    custody,
    barrierRekey: new Rekey({ barrier, custody, clock }, "barrier"),
    recoveryRekey: new Rekey({ barrier, custody, clock }, "recovery"),
    emergencyRekey: new Rekey({ barrier, custody, clock }, "emergency"),
    rootGeneration: new RootGeneration({ custody, clock, writeRootToken }),
  };
}
