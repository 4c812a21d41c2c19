// An event as subscribers get it: CloudEvents 1.0 in JSON, with the members inside `data` that clients of Vault know.
//   https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
import { randomUUID } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { formatTime } from "#common/rfc3339.ts";
import type { BackendEvent } from "../framework/event.ts";
import type { MountRecord } from "../mounts/mount-record.ts";

/** What happened, with all its paths written out. */
export interface ServerEvent {
  readonly id: string;
  readonly time: Millis;
  readonly type: string;
  /** Without slashes around it; "" is the root namespace. */
  readonly namespace: string;
  /** From the root of the namespace: what policies speak of. */
  readonly dataPath: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly mount: Pick<MountRecord, "path" | "type" | "accessor" | "options">;
}

/** A backend's event about its mount. */
export function eventOfMount(
  event: BackendEvent,
  mount: ServerEvent["mount"],
  about: { readonly time: Millis; readonly namespace: string },
): ServerEvent {
  const dataPath = mount.path + event.dataPath;
  const operation = event.type.slice(event.type.lastIndexOf("/") + 1);
  const paths = { data_path: dataPath, path: mount.path + event.path };
  return {
    id: randomUUID(),
    ...about,
    type: event.type,
    dataPath,
    metadata: { modified: "true", operation, ...event.metadata, ...paths },
    mount,
  };
}

/** `source` names the cluster. */
export function cloudEvent(event: ServerEvent, source: string): JsonObject {
  const { id, type, namespace, metadata, mount } = event;
  return {
    id,
    source,
    specversion: "1.0",
    type,
    time: formatTime(event.time),
    datacontenttype: "application/json",
    // How Vault spells the member; its clients look for it.
    datacontentype: "application/cloudevents",
    data: {
      event: { id, metadata },
      event_type: type,
      namespace,
      plugin_info: {
        mount_class: mount.path.startsWith("auth/") ? "auth" : "secret",
        mount_accessor: mount.accessor,
        mount_path: mount.path,
        plugin: mount.type,
        version: mount.options["version"] ?? "",
      },
    },
  };
}
