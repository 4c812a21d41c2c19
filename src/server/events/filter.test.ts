import { describe, expect, it } from "vitest";
import { eventOfMount } from "./event.ts";
import { eventText, parseEventFilter } from "./filter.ts";

const EVENT = eventOfMount(
  { type: "kv-v2/data-write", path: "data/foo", dataPath: "data/foo", metadata: {} },
  { path: "secret/", type: "kv", accessor: "kv_1", options: { version: "2" } },
  { time: 0, namespace: "team/a" },
);

describe("filters of events", () => {
  it.each<[string, boolean]>([
    ["data_path == secret/data/foo", true],
    ['data_path == secret/data/foo and operation != "data-write"', false],
    ["event_type matches kv-v2/*", true],
    ["source_plugin_mount == secret/ and namespace == team/a", true],
    ["operation in [data-delete, data-patch]", false],
    ['not ("bar" in data_path)', true],
  ])("%s is %s", (source, wanted) => {
    expect(parseEventFilter(source)((name) => eventText(EVENT, name))).toBe(wanted);
  });

  it.each(["mount_type == kv", "data_path ==", "(operation == a", '"/request/path" == a', "x".repeat(5000)])(
    "refuses %s",
    (source) => {
      expect(() => parseEventFilter(source)).toThrow("filter");
    },
  );
});
