// Which events a subscriber wants, as an expression over what an event is. The names are those of Vault's filters; the
// grammar is that of audit devices.
import { type Expression, parseExpression } from "../audit/selection/expression.ts";
import type { ServerEvent } from "./event.ts";

const TEXTS: Readonly<Record<string, (event: ServerEvent) => string | undefined>> = {
  event_type: ({ type }) => type,
  operation: ({ metadata }) => metadata["operation"],
  source_plugin_mount: ({ mount }) => mount.path,
  data_path: ({ dataPath }) => dataPath,
  namespace: ({ namespace }) => namespace,
};

export const EVENT_SELECTORS: readonly string[] = Object.keys(TEXTS);

/** Throws `invalid_request` saying what is wrong at which character. */
export function parseEventFilter(source: string): Expression {
  return parseExpression(source, { selectors: EVENT_SELECTORS });
}

/** The text behind a name. */
export function eventText(event: ServerEvent, name: string): string | undefined {
  return TEXTS[name]?.(event);
}
