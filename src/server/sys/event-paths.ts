// sys/events: subscriptions to what happens. Here is only what a subscription is; the socket is the HTTP edge's.
import { CofferError } from "#common/errors.ts";
import { EVENT_SELECTORS, parseEventFilter } from "../events/filter.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { SysServices } from "./services.ts";

/** Longer patterns describe nothing that exists. */
const PATTERN_LENGTH_MAX = 1_024;
const NAMESPACES_MAX = 100;

export function eventPaths({ events }: Pick<SysServices, "events">) {
  return [
    definePrivilegedPath("events/subscribe/:type*", {
      summary: "Events as they happen, over a WebSocket.",
      description:
        'Events of a type such as kv-v2/data-write ("*" stands for anything), one CloudEvents JSON text each. Wants ' +
        "`read` or `subscribe` on this path and `subscribe` on the path that an event is about. Best effort: what " +
        "other servers on the storage do is told from about a second later on; nothing is sent again.",
      orCapability: "subscribe",
      fields: {
        json: withDefault(field.flag("Must be true: events are sent as JSON."), false),
        namespaces: withDefault(field.list('Namespaces besides the request\'s own, with "*" for anything.'), []),
        filter: withDefault(
          field.text(`An expression such as data_path == secret/data/a, over ${EVENT_SELECTORS.join(", ")}.`),
          "",
        ),
        data_path: withDefault(field.text('Only events about such paths, with "*" for anything.'), ""),
      },
      operations: {
        read: {
          summary: "Subscribe.",
          handler: async ({ upgrade, namespace }, { type, json, namespaces, data_path: dataPath, filter }) => {
            if (upgrade !== "websocket")
              throw new CofferError(
                "invalid_request",
                "events come over a WebSocket; connect with ws:// or wss:// (a GET with Upgrade: websocket)",
              );
            if (!json) throw new CofferError("invalid_request", "events are sent as JSON alone; add json=true");
            assertPatterns([type, dataPath, ...namespaces], namespaces.length);
            const parsed = filter === "" ? undefined : parseEventFilter(filter);
            await events.prepare();
            const trimmed = namespaces.map((name) => name.replace(/^\/+|\/+$/g, ""));
            return { subscription: { types: type, namespace, namespaces: trimmed, dataPath, filter: parsed } };
          },
        },
      },
    }),
  ];
}

function assertPatterns(patterns: readonly string[], namespaces: number): void {
  if (namespaces > NAMESPACES_MAX)
    throw new CofferError("invalid_request", `namespaces has more than ${NAMESPACES_MAX} entries; use "*"`);
  if (patterns.some((pattern) => pattern.length > PATTERN_LENGTH_MAX))
    throw new CofferError("invalid_request", `a pattern is longer than ${PATTERN_LENGTH_MAX} characters`);
}
