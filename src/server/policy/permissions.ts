// What all policies together say about one and the same path pattern, and whether a request keeps to it. Grants are
// united, deny wins over everything, limits are collected; of two wrapping limits the shorter one counts.
import type { Seconds } from "#common/clock.ts";
import { matchesGlob } from "#common/glob.ts";
import type { JsonObject } from "#common/json.ts";
import type { Operation } from "../framework/context.ts";
import {
  bitOf,
  bitsOf,
  type Capability,
  type CapabilityBits,
  DENY,
  OPERATION_BITS,
  SUDO,
  wordsOf,
} from "./capabilities.ts";
import { type ControlGroup, unitedControl } from "./control-group.ts";
import type { ListFilter } from "./list-filter.ts";
import { mergeParameters, type ParameterLimits, parameterMap, parametersFit } from "./parameter-rules.ts";
import type { PolicyRule } from "./parsed-policy.ts";

export interface AccessRequest {
  readonly operation: Operation;
  /** As mounts see it: without "/v1/" and without a leading slash. */
  readonly path: string;
  /** Body and query of the request. */
  readonly data?: JsonObject | undefined;
  /** Undefined when the answer is not to be wrapped. */
  readonly wrapTtlSeconds?: Seconds | undefined;
  /** A capability that is as good as the operation's own. */
  readonly orCapability?: Capability | undefined;
}

/** Why a request was refused; for logs and for explaining policies, never for the client. */
export type Refusal = "no-rule" | "denied" | "capability" | "wrapping" | "parameters" | "pagination" | "boundary";

export interface Decision {
  readonly allowed: boolean;
  /** True when the path's rule grants sudo. */
  readonly sudo: boolean;
  readonly isRoot: boolean;
  /** Sorted; ["root"] for root, ["deny"] for nothing. */
  readonly capabilities: readonly string[];
  /** The policies that grant this operation; empty when it is refused. */
  readonly grantingPolicies: readonly string[];
  /** The pattern of the rule that decided. */
  readonly rule?: string | undefined;
  readonly refusal?: Refusal | undefined;
  /** Cut a list that asks for no limit to so many keys; 0 means all. */
  readonly paginationLimit: number;
  /** Which keys of a list are shown: those that all of them let through. */
  readonly listFilters?: readonly ListFilter[] | undefined;
  /** Whose approval the operation needs besides; never of a refused one. */
  readonly controlGroup?: ControlGroup | undefined;
}

interface Grant {
  readonly policy: string;
  readonly line: number;
  readonly bits: CapabilityBits;
  /** Types of events that may be subscribed to; undefined for all. */
  readonly eventTypes: readonly string[] | undefined;
}

/** A rule in a policy's text that had a say. */
export interface RuleSource {
  readonly policy: string;
  readonly line: number;
  readonly path: string;
  readonly capabilities: readonly Capability[];
}

export class Permissions {
  readonly pattern: string;
  readonly bits: CapabilityBits;
  readonly words: readonly Capability[];
  readonly parameters: ParameterLimits;
  readonly minWrappingTtlSeconds: Seconds;
  readonly maxWrappingTtlSeconds: Seconds;
  readonly paginationLimit: number;
  readonly #grants: readonly Grant[];
  readonly #limitsParameters: boolean;
  readonly #controlGroups: readonly ControlGroup[];
  readonly #listFilters: readonly ListFilter[];

  /** `rules` all have this pattern, each with the name of its policy. */
  constructor(pattern: string, rules: readonly (readonly [policy: string, rule: PolicyRule])[]) {
    const all = rules.reduce((bits, [, rule]) => bits | bitsOf(rule.capabilities), 0);
    this.pattern = pattern;
    this.bits = (all & DENY) === 0 ? all : DENY;
    this.words = wordsOf(this.bits);
    const counted = this.bits === DENY ? [] : rules.map(([, rule]) => rule);
    this.parameters = {
      required: [...new Set(counted.flatMap((rule) => rule.requiredParameters))],
      denied: counted.map((rule) => parameterMap(rule.deniedParameters)).reduce(mergeParameters, new Map()),
      allowed: counted.map((rule) => parameterMap(rule.allowedParameters)).reduce(mergeParameters, new Map()),
    };
    this.minWrappingTtlSeconds = leastOf(counted.map((rule) => rule.minWrappingTtlSeconds));
    this.maxWrappingTtlSeconds = leastOf(counted.map((rule) => rule.maxWrappingTtlSeconds));
    this.paginationLimit = leastOf(counted.map((rule) => rule.paginationLimit));
    this.#controlGroups = counted.map((rule) => rule.controlGroup).filter((group) => group !== undefined);
    // One policy's filter holds for all of them; of several the first counts, as clients of OpenBao know it.
    this.#listFilters = counted.flatMap((rule) => rule.listFilter ?? []).slice(0, 1);
    this.#grants = rules.map(([policy, rule]) => ({
      policy,
      line: rule.line,
      bits: bitsOf(rule.capabilities),
      eventTypes: rule.subscribeEventTypes,
    }));
    this.#limitsParameters =
      this.parameters.required.length + this.parameters.denied.size + this.parameters.allowed.size > 0;
  }

  decide(request: AccessRequest): Decision {
    const { operation, orCapability } = request;
    const wanted = OPERATION_BITS[operation] | (orCapability === undefined ? 0 : bitOf(orCapability));
    // Help is the same for everybody: nobody needs to approve it.
    const isControlled = this.#controlGroups.length > 0 && operation !== "help";
    const refusal = this.#refusal(request, wanted);
    return {
      allowed: refusal === undefined,
      sudo: (this.bits & SUDO) !== 0,
      isRoot: false,
      capabilities: this.words,
      grantingPolicies: refusal === undefined ? this.#granting(wanted) : [],
      rule: this.pattern,
      refusal,
      paginationLimit: this.paginationLimit,
      ...(this.#listFilters.length > 0 && { listFilters: this.#listFilters }),
      ...(refusal === undefined && isControlled && { controlGroup: unitedControl(this.#controlGroups, wanted) }),
    };
  }

  /** Whether events of this type about a path that this rule decides on may be seen. */
  subscribes(eventType: string): boolean {
    if ((this.bits & SUBSCRIBE) === 0) return false;
    return this.#grants.some(
      ({ bits, eventTypes }) =>
        (bits & SUBSCRIBE) !== 0 && (!eventTypes || eventTypes.some((pattern) => matchesGlob(pattern, eventType))),
    );
  }

  /** The rules that this is made of, for explaining a decision. */
  sources(): readonly RuleSource[] {
    return this.#grants.map(({ policy, line, bits }) => ({
      policy,
      line,
      path: this.pattern,
      capabilities: wordsOf(bits),
    }));
  }

  #refusal(request: AccessRequest, wanted: CapabilityBits): Refusal | undefined {
    if (this.bits === DENY) return "denied";
    if ((this.bits & wanted) === 0) return "capability";
    if (!this.#wrappingFits(request.wrapTtlSeconds)) return "wrapping";
    const { data = {}, operation } = request;
    if (operation === "list" || operation === "scan") return this.#listRefusal(data);
    // Deletes and help take no parameters.
    if (!this.#limitsParameters || operation === "delete" || operation === "help") return undefined;
    return parametersFit(this.parameters, data) ? undefined : "parameters";
  }

  /** Lists take no parameters but those of paging. */
  #listRefusal(data: JsonObject): Refusal | undefined {
    const { limit } = data;
    if (limit === undefined && this.parameters.required.includes("limit")) return "parameters";
    if (this.paginationLimit === 0 || limit === undefined) return undefined;
    const asked = Number(limit);
    return asked >= 1 && asked <= this.paginationLimit ? undefined : "pagination";
  }

  #wrappingFits(ttl: Seconds | undefined): boolean {
    const { minWrappingTtlSeconds: min, maxWrappingTtlSeconds: max } = this;
    if (min === 0 && max === 0) return true;
    return ttl !== undefined && ttl >= min && (max === 0 || ttl <= max);
  }

  #granting(wanted: CapabilityBits): readonly string[] {
    const names = this.#grants.filter((grant) => (grant.bits & wanted) !== 0).map((grant) => grant.policy);
    return names.length > 1 ? [...new Set(names)] : names;
  }
}

const SUBSCRIBE = bitOf("subscribe");

/** The least of those that are set; 0 when none is. */
export function leastOf(values: readonly number[]): number {
  const set = values.filter((value) => value > 0);
  return set.length === 0 ? 0 : Math.min(...set);
}
