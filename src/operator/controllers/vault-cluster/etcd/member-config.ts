// The configuration files of etcd members, one for each, in one ConfigMap. They are JSON, which etcd reads as YAML
// (etcd.io: op-guide/configuration). A file also says how far its member has come, and is read back for that:
//
//   new      the whole cluster is being made: the member begins empty, with all the others
//   joining  the member has been added to a running cluster: it begins empty and takes the data from the others
//   joined   it has data. The list of members that an empty one needs is not in the file, so that a member whose disk is
//            lost does not start: it would come back under its old number without what it has acknowledged, and
//            acknowledged writes could be lost. It says so as it ends, and the operator replaces it.
//
// A member that has data reads neither list nor state.
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import { CLIENT_PORT, clientUrl, METRICS_PORT, memberName, PEER_PORT, peerUrl } from "./etcd-names.ts";

export type Phase =
  | { readonly kind: "new" }
  /** With the names of all members, its own among them. */
  | { readonly kind: "joining"; readonly among: readonly string[] }
  | { readonly kind: "joined" };

export const CONFIG_DIRECTORY = "/etcd/config";
export const TLS_DIRECTORY = "/etcd/tls";
export const DATA_DIRECTORY = "/etcd/data";
/** Stands where an empty member would look for itself. */
const NOBODY = "has-data=https://has-data.invalid:2380";

/**
 * How etcd ends that was told to start without data and without a list that it is on; and a founder without data that
 * the others know to have had some.
 */
export const DATA_LOST = /couldn't find local (?:name|member)|has already been bootstrapped/;

export function configFileName(member: string): string {
  return `${member}.yaml`;
}

export interface MemberConfigInputs {
  readonly cluster: VaultCluster;
  readonly member: string;
  readonly phase: Phase;
  /** How many members a new cluster begins with. */
  readonly founders: number;
  readonly quotaBytes: number;
}

export function memberConfig({ cluster, member, phase, founders, quotaBytes }: MemberConfigInputs): JsonObject {
  const security = {
    "cert-file": `${TLS_DIRECTORY}/tls.crt`,
    "key-file": `${TLS_DIRECTORY}/tls.key`,
    "trusted-ca-file": `${TLS_DIRECTORY}/ca.crt`,
    "client-cert-auth": true,
  };
  return {
    name: member,
    "data-dir": `${DATA_DIRECTORY}/member`,
    "listen-client-urls": `https://0.0.0.0:${CLIENT_PORT}`,
    "advertise-client-urls": clientUrl(cluster, member),
    "listen-peer-urls": `https://0.0.0.0:${PEER_PORT}`,
    "initial-advertise-peer-urls": peerUrl(cluster, member),
    "listen-metrics-urls": `http://0.0.0.0:${METRICS_PORT}`,
    "initial-cluster-token": cluster.metadata.uid,
    ...startOf(cluster, phase, founders),
    // Refuses a change of members that would leave no majority of those that work.
    "strict-reconfig-check": true,
    // The operator's way in. A configuration file without this word switches it off.
    "enable-grpc-gateway": true,
    "quota-backend-bytes": quotaBytes,
    "client-transport-security": security,
    // That a peer has a certificate of this authority is enough (from 3.5 on; before, the word is not known): its pod's
    // address is often newer than what DNS says of its names, and members would refuse each other for that long.
    "peer-transport-security": { ...security, "skip-client-san-verification": true },
    logger: "zap",
    "log-level": "warn",
  };
}

function startOf(cluster: VaultCluster, phase: Phase, founders: number): JsonObject {
  const listOf = (names: readonly string[]) => names.map((name) => `${name}=${peerUrl(cluster, name)}`).join(",");
  if (phase.kind === "joined") return { "initial-cluster": NOBODY, "initial-cluster-state": "existing" };
  if (phase.kind === "joining") return { "initial-cluster": listOf(phase.among), "initial-cluster-state": "existing" };
  const names = Array.from({ length: founders }, (_, ordinal) => memberName(cluster, ordinal));
  return { "initial-cluster": listOf(names), "initial-cluster-state": "new" };
}

/** How far each member has come, by name, as the ConfigMap says; unreadable files say nothing. */
export function readPhases(data: JsonObject): ReadonlyMap<string, Phase> {
  const found = Object.entries(data).flatMap(([file, text]): readonly [string, Phase][] => {
    const phase = typeof text === "string" && file.endsWith(".yaml") ? phaseIn(text) : undefined;
    return phase === undefined ? [] : [[file.slice(0, -".yaml".length), phase]];
  });
  return new Map(found);
}

function phaseIn(text: string): Phase | undefined {
  try {
    const config = parseJson(text);
    if (!isJsonObject(config)) return undefined;
    const list = config["initial-cluster"];
    if (config["initial-cluster-state"] === "new") return { kind: "new" };
    if (typeof list !== "string" || list === NOBODY) return { kind: "joined" };
    return { kind: "joining", among: list.split(",").map((entry) => entry.split("=")[0] ?? "") };
  } catch {
    return undefined;
  }
}
