// Looks at an UnsealConfig, its Secret and the servers that use it, and writes what decide.ts says. Changes nothing else.

import { createController } from "#kube/controller.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import { resourceKind } from "../../api/resource.ts";
import { type UnsealConfig, unsealConfig } from "../../api/unseal-config.ts";
import { managesNamespace } from "../../settings.ts";
import type { SecretFacts } from "../../unseal-secret.ts";
import { neededSecret } from "../../unseal-secret.ts";
import type { ControllerParts, ControllerType } from "../controller-type.ts";
import { readSecretFacts } from "../secret-facts.ts";
import { decide, type UsingCluster } from "./decide.ts";

const KIND = resourceKind(unsealConfig);

export const unsealConfigController: ControllerType = {
  name: "unseal-config",
  create(parts) {
    const { watches, clock, log, metrics } = parts;
    return createController({
      name: "unseal-config",
      sources: [
        { reflector: watches.unsealConfigs.reflector },
        {
          reflector: watches.clusters.reflector,
          keysOf: ({ object, previous }) => [...new Set([...refsOf(object), ...refsOf(previous)])],
        },
        ...watches.secrets.reflectors.map((reflector) => ({
          reflector,
          keysOf: ({ object }: { object: KubeObject }) => usersOfSecret(parts, object),
        })),
      ],
      reconcile: (key, signal) => reconcile(parts, key, signal),
      clock,
      log,
      metrics,
    });
  },
};

async function reconcile(parts: ControllerParts, key: string, signal: AbortSignal) {
  const { watches, servers, applier, clock } = parts;
  const config = watches.unsealConfigs.get(key);
  const object = watches.unsealConfigs.reflector.get(key);
  if (config === undefined || object === undefined || config.metadata.deletionTimestamp !== undefined) return undefined;
  const { namespace, name, generation } = config.metadata;
  if (!managesNamespace(parts.settings, namespace)) return undefined;
  const users = watches.clusters.list(namespace).filter(({ spec }) => spec.unsealConfigRef.name === name);
  const clusters = users.map(
    async (cluster): Promise<UsingCluster> => ({
      name: cluster.metadata.name,
      isSuspended: cluster.spec.suspend,
      members: await servers.probe(cluster, signal),
      machinery: config.spec.pkcs11?.cloudHsm && (await servers.machinery(cluster, signal)),
    }),
  );
  const decision = decide({
    config,
    secret: await secretOf(parts, config, signal),
    clusters: await Promise.all(clusters),
    look: { now: clock.now(), generation },
  });
  await applier.carryOut({ kind: KIND, object }, decision, signal);
  return { requeueAfterMillis: decision.requeueAfterMillis };
}

async function secretOf(
  parts: ControllerParts,
  config: UnsealConfig,
  signal: AbortSignal,
): Promise<SecretFacts | undefined> {
  const needed = neededSecret(config);
  return needed && readSecretFacts(parts.client, { namespace: config.metadata.namespace, name: needed.name }, signal);
}

function refsOf(object: KubeObject | undefined): readonly string[] {
  const spec = object?.["spec"];
  const ref =
    typeof spec === "object" && spec !== null && "unsealConfigRef" in spec ? spec["unsealConfigRef"] : undefined;
  const name = typeof ref === "object" && ref !== null && "name" in ref ? ref["name"] : undefined;
  return typeof name === "string" ? [keyOf({ namespace: object?.metadata.namespace, name })] : [];
}

function usersOfSecret({ watches }: ControllerParts, { metadata }: KubeObject): readonly string[] {
  return watches.unsealConfigs
    .list(metadata.namespace)
    .filter((config) => neededSecret(config)?.name === metadata.name)
    .map((config) => keyOf(config.metadata));
}
