// The fields of token creation, and their checks. Texts of errors are those that clients of Vault know.

import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { field, LABEL_BYTES_MAX, NAME_BYTES_MAX, policyNames, type Values } from "../../framework/fields.ts";

/** It has to fit into a header beside others. */
const ID_BYTES_MAX = 1_024;
/** Of identities it is 64; some clients keep more with a token. */
const META_MAX = 256;

export const createFields = {
  id: field.text("A token text of your own; only with sudo.", { bytesMax: ID_BYTES_MAX }),
  policies: field.list("Policies of the token; the caller's own by default.", policyNames),
  meta: field.pairs("Text pairs kept with the token.", { bytesMax: LABEL_BYTES_MAX, itemsMax: META_MAX }),
  no_parent: field.flag("Make an orphan; only with sudo."),
  no_default_policy: field.flag("Leave out the default policy."),
  renewable: field.flag("Whether the token may be renewed."),
  ttl: field.text("Time to live, as 3600 or 1h."),
  lease: field.text("The old name of ttl.", { deprecated: true }),
  type: field.text("service or batch."),
  explicit_max_ttl: field.text("A hard end of the token's life."),
  period: field.text("Makes a periodic token; only with sudo."),
  display_name: field.text("Shown in the audit log.", { bytesMax: NAME_BYTES_MAX }),
  num_uses: field.integer("How often the token may be used; 0 is without limit."),
  entity_alias: field.text("Name of an entity alias; only with a role that allows it.", { bytesMax: NAME_BYTES_MAX }),
} as const;
export type CreateValues = Values<typeof createFields>;

/** Seconds of a duration field; 0 when it was not sent. */
export function secondsOf(text: string | undefined, name: string): number {
  if (text === undefined || text === "") return 0;
  const seconds = parseDurationSeconds(text);
  if (seconds === undefined) throw new CofferError("invalid_request", `time: invalid duration ${JSON.stringify(text)}`);
  if (seconds < 0) throw new CofferError("invalid_request", `${name} must be positive`);
  return seconds;
}

export function assertCreatable(values: CreateValues, type: "service" | "batch"): void {
  const wrong = (message: string): never => {
    throw new CofferError("invalid_request", message);
  };
  if ((values.num_uses ?? 0) < 0) wrong("number of uses cannot be negative");
  if (values.id !== undefined && values.id !== "") assertCustomId(values.id);
  if (type !== "batch") return;
  if ((values.num_uses ?? 0) > 0) wrong('batch tokens cannot have "num_uses" set');
  if (secondsOf(values.period, "period") > 0) wrong('batch tokens cannot have "period" set');
  if (secondsOf(values.explicit_max_ttl, "explicit_max_ttl") > 0)
    wrong('batch tokens cannot have "explicit_max_ttl" set');
}

function assertCustomId(id: string): void {
  if (/^(s|b|r|hvs|hvb|hvr)\./.test(id)) {
    throw new CofferError(
      "invalid_request",
      `custom token ID cannot have the '${id.slice(0, id.indexOf(".") + 1)}' prefix`,
    );
  }
  if (id.includes(".")) throw new CofferError("invalid_request", "custom token ID cannot have a '.' in the value");
}
