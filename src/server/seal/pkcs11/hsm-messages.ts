// What the server and the process that talks to the HSM say to each other. Bytes travel as bytes over the inherited
// channel (structured clone), and both ends zero their copies.
import type { TokenStatus } from "../key-machine.ts";
import type { SealFault } from "../seal.ts";
import type { TokenAddress } from "./config.ts";
import type { SchemeName } from "./schemes.ts";

/** Everything that opening a token takes. */
export interface TokenSettings {
  readonly library: string;
  readonly token: TokenAddress;
  readonly pin: string;
  readonly keyLabel: string;
  readonly keyId: string | undefined;
  readonly hmacKeyLabel: string;
  readonly scheme: SchemeName | undefined;
  readonly generateKey: boolean;
}

export type HsmRequest =
  | { readonly kind: "open"; readonly settings: TokenSettings }
  | { readonly kind: "describe" }
  | { readonly kind: "create-key" }
  | { readonly kind: "wrap"; readonly key: Uint8Array; readonly binding: Uint8Array }
  | { readonly kind: "unwrap"; readonly keyId: string; readonly blob: Uint8Array; readonly binding: Uint8Array };

export interface Question {
  readonly id: number;
  readonly request: HsmRequest;
}

export type HsmAnswer =
  | { readonly kind: "opened" }
  | { readonly kind: "described"; readonly status: Omit<TokenStatus, "library"> }
  | { readonly kind: "wrapped"; readonly keyId: string; readonly blob: Uint8Array }
  | { readonly kind: "unwrapped"; readonly key: Uint8Array }
  | { readonly kind: "failed"; readonly fault: SealFault; readonly message: string; readonly transient: boolean };

export interface Reply {
  readonly id: number;
  readonly answer: HsmAnswer;
}
