// Reading one's own writes behind servers that answer from copies: the state that a server tells with an answer goes
// with later requests of the pod (X-Vault-Index, as developer.hashicorp.com/vault/docs/enterprise/consistency has it).
// Coffer's nodes have one store and tell no state; then nothing of this has any effect.
import type { AgentConfig } from "#common/agent-config.ts";
import type { ProxyAnswer, ProxyRequest } from "./exchange.ts";

type Consistency = NonNullable<NonNullable<AgentConfig["proxy"]>["consistency"]>;

const STATE_HEADER = "x-vault-index";
/** States of different clusters are kept side by side; there are few. */
const STATES_MAX = 8;
const STATE_CHARACTERS_MAX = 1024;

export interface ConsistencyKeeper {
  /** Headers to send along. */
  headersFor(request: ProxyRequest): Readonly<Record<string, string>>;
  note(answer: ProxyAnswer): void;
}

export function createConsistencyKeeper(wanted: Consistency | undefined): ConsistencyKeeper {
  if (wanted === undefined) return { headersFor: () => ({}), note: () => {} };
  const states = new Map<string, State>();
  const inconsistent = wanted === "Forward" ? { "X-Vault-Inconsistent": "forward-active-node" } : undefined;
  return {
    headersFor({ headers }) {
      if (headers[STATE_HEADER] !== undefined || states.size === 0) return {};
      const known = [...states.values()].map(({ text }) => text).join(", ");
      return { "X-Vault-Index": known, ...inconsistent };
    },
    note({ headers }) {
      const text = headers[STATE_HEADER];
      const state = typeof text === "string" ? parseState(text) : undefined;
      if (state === undefined) return;
      const before = states.get(state.cluster);
      if (before === undefined ? states.size < STATES_MAX : isLater(state, before)) states.set(state.cluster, state);
    },
  };
}

interface State {
  readonly cluster: string;
  readonly local: number;
  readonly replicated: number;
  readonly text: string;
}

/** base64 of "v1:<cluster>:<local>:<replicated>:<hmac>". */
function parseState(text: string): State | undefined {
  if (text.length > STATE_CHARACTERS_MAX) return undefined;
  const [version, cluster = "", local, replicated] = Buffer.from(text, "base64").toString("latin1").split(":");
  const state = { cluster, local: Number(local), replicated: Number(replicated), text };
  const isWhole = version === "v1" && Number.isSafeInteger(state.local) && Number.isSafeInteger(state.replicated);
  return isWhole ? state : undefined;
}

function isLater(a: State, b: State): boolean {
  return a.local >= b.local && a.replicated >= b.replicated;
}
