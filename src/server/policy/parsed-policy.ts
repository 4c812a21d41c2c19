// What the text of a policy says, before many policies are compiled into one ACL. Plain data, never changed once made.
import type { Millis, Seconds } from "#common/clock.ts";
import type { JsonValue } from "#common/json.ts";
import type { Capability } from "./capabilities.ts";
import type { ControlGroup } from "./control-group.ts";
import type { ListFilter } from "./list-filter.ts";

/** Lower-case parameter name -> values; an empty list means any value. */
export type ParameterRules = Readonly<Record<string, readonly JsonValue[]>>;

export interface PolicyRule {
  /** Without a leading slash; may hold `+` segments, a last `*`, and templates. */
  readonly path: string;
  /** Where it begins in the text of the policy. */
  readonly line: number;
  readonly capabilities: readonly Capability[];
  readonly allowedParameters: ParameterRules;
  readonly deniedParameters: ParameterRules;
  /** Lower case. */
  readonly requiredParameters: readonly string[];
  /** 0 means none. */
  readonly minWrappingTtlSeconds: Seconds;
  /** 0 means none. */
  readonly maxWrappingTtlSeconds: Seconds;
  /** Most keys that one list or scan may ask for; 0 means any number. */
  readonly paginationLimit: number;
  /** Which keys of a list are shown; all without. */
  readonly listFilter?: ListFilter;
  /** The rule counts until then. */
  readonly expirationMillis?: Millis;
  /** Whose approval is needed besides. */
  readonly controlGroup?: ControlGroup;
  /** Types of events that the capability `subscribe` is for, with "*" for anything; all without. */
  readonly subscribeEventTypes?: readonly string[];
}

export interface ParsedPolicy {
  /** Lower case. */
  readonly name: string;
  readonly rules: readonly PolicyRule[];
  /** Names between `{{` and `}}`, each once. While there are any, `applyTemplates` must come before compiling. */
  readonly variables: readonly string[];
  /** What the values of its templates may hold besides plain text; neither without. */
  readonly templateValues?: TemplateValues;
}

export interface TemplateValues {
  readonly wildcards: boolean;
  readonly slashes: boolean;
}
