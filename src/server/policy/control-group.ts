// Control groups as policies say them: whose approval an operation needs before it is done. Parsing and the union of
// what several policies ask for; approvals themselves are in ../approval.
//
//   control_group {
//     ttl = "4h"                        how long approvals may take; the server's limit without
//     self_authorization = false        whether who asks may be one of those who approve
//     factor "name" {
//       identity { group_names = ["…"] group_ids = ["…"] approvals = 2 }
//       controlled_capabilities = ["read"]      all without
//     }
//   }
import type { Seconds } from "#common/clock.ts";
import { blocksOf, type HclBlock, type HclObject, type HclValue } from "#common/hcl/syntax-tree.ts";
import { bitsOf, type Capability, type CapabilityBits, isCapability } from "./capabilities.ts";
import { assertKnown, duration, invalid, texts, valueAt } from "./policy-text.ts";

/** More people than this do not approve one request. */
const APPROVALS_MAX = 100;
/** Factors of one rule: each is looked at with every approval. */
const FACTORS_MAX = 20;
/** Groups of one factor, for the same reason. */
const GROUPS_MAX = 50;

export interface ControlFactor {
  readonly name: string;
  readonly groupNames: readonly string[];
  readonly groupIds: readonly string[];
  /** How many members of those groups must approve. */
  readonly approvals: number;
  /** What the factor is for; empty for all capabilities. */
  readonly capabilities: readonly Capability[];
  /** Whether who asks may be among them. */
  readonly selfAuthorization: boolean;
}

export interface ControlGroup {
  /** 0: the server's limit. */
  readonly ttlSeconds: Seconds;
  /** All of them must be satisfied; at least one. */
  readonly factors: readonly ControlFactor[];
}

/** The control group of a rule, or undefined. Throws `invalid_request` for one that would control nothing. */
export function controlGroupOf(path: string, body: HclObject): ControlGroup | undefined {
  const blocks = blocksOf(body, "control_group", 0);
  const [block] = blocks;
  if (!block) return undefined;
  const prefix = `path ${JSON.stringify(path)}: control_group: `;
  if (blocks.length > 1) throw invalid(`${prefix}there can be one; put its factors together`);
  assertKnown(block.body, ["ttl", "self_authorization", "factor"], prefix);
  const selfAuthorization = flag(prefix, valueAt(block.body, "self_authorization"));
  const factors = blocksOf(block.body, "factor", 1).map((factor) => factorOf(path, prefix, factor, selfAuthorization));
  if (factors.length === 0) throw invalid(`${prefix}at least one factor must be given`);
  if (factors.length > FACTORS_MAX) throw invalid(`${prefix}more than ${FACTORS_MAX} factors`);
  return { ttlSeconds: duration("ttl", valueAt(block.body, "ttl")), factors };
}

function factorOf(path: string, prefix: string, block: HclBlock, selfAuthorization: boolean): ControlFactor {
  const name = block.labels[0]?.text ?? "";
  const where = `${prefix}factor ${JSON.stringify(name)}: `;
  assertKnown(block.body, ["identity", "controlled_capabilities"], where);
  const [identity, second] = blocksOf(block.body, "identity", 0);
  if (!identity || second) throw invalid(`${where}exactly one identity block must be given`);
  assertKnown(identity.body, ["group_names", "group_ids", "approvals"], where);
  const groupNames = texts(path, "group_names", valueAt(identity.body, "group_names"));
  const groupIds = texts(path, "group_ids", valueAt(identity.body, "group_ids"));
  const groups = groupNames.length + groupIds.length;
  if (groups === 0) throw invalid(`${where}group_names or group_ids must be given`);
  if (groups > GROUPS_MAX) throw invalid(`${where}more than ${GROUPS_MAX} groups`);
  const capabilities = texts(path, "controlled_capabilities", valueAt(block.body, "controlled_capabilities"));
  return {
    name,
    groupNames,
    groupIds,
    approvals: approvals(where, valueAt(identity.body, "approvals")),
    capabilities: capabilities.map((word) => {
      if (isCapability(word)) return word;
      throw invalid(`${where}invalid capability ${JSON.stringify(word)}`);
    }),
    selfAuthorization,
  };
}

function approvals(where: string, value: HclValue | undefined): number {
  if (value === undefined || value.kind === "null") return 1;
  const wanted = value.kind === "number" ? value.value : Number.NaN;
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= APPROVALS_MAX) return wanted;
  throw invalid(`${where}approvals must be a whole number from 1 to ${APPROVALS_MAX}`);
}

function flag(prefix: string, value: HclValue | undefined): boolean {
  if (value === undefined || value.kind === "null") return false;
  if (value.kind === "boolean") return value.value;
  throw invalid(`${prefix}self_authorization must be true or false`);
}

/** What all of them ask for together, for one operation: every factor that covers it, the shortest time. */
export function unitedControl(
  groups: readonly (ControlGroup | undefined)[],
  wanted?: CapabilityBits,
): ControlGroup | undefined {
  const counted = groups
    .filter((group) => group !== undefined)
    .map((group) => ({
      ttlSeconds: group.ttlSeconds,
      factors: group.factors.filter((factor) => covers(factor, wanted)),
    }));
  const factors = new Map(counted.flatMap((group) => group.factors).map((each) => [JSON.stringify(each), each]));
  if (factors.size === 0) return undefined;
  const times = counted.filter((group) => group.factors.length > 0 && group.ttlSeconds > 0);
  return {
    ttlSeconds: times.length === 0 ? 0 : Math.min(...times.map((group) => group.ttlSeconds)),
    factors: [...factors.values()],
  };
}

function covers({ capabilities }: ControlFactor, wanted: CapabilityBits | undefined): boolean {
  return wanted === undefined || capabilities.length === 0 || (bitsOf(capabilities) & wanted) !== 0;
}
