// Where and as whom an agent logs in, as a short text: what a kept token belongs to.
import { createHash } from "node:crypto";
import type { AgentConfig } from "#common/agent-config.ts";
import type { AutoAuth } from "./auto-auth.ts";
import type { Connection } from "./connection.ts";

/** Equal for configurations whose tokens are interchangeable. */
export function identityOf(
  { address, namespace }: Pick<Connection, "address" | "namespace">,
  autoAuth: Pick<AutoAuth, "type" | "mountPath" | "namespace" | "configText"> | undefined,
  { sources }: Pick<AgentConfig, "sources">,
): string {
  const { type, mountPath, namespace: ofMount, configText } = autoAuth ?? {};
  const facts = [
    address,
    namespace,
    type,
    mountPath,
    ofMount,
    configText,
    sources.map(({ name, path }) => [name, path]),
  ];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}
