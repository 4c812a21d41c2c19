// sys/metrics: what this node has counted, in all its worker processes, in JSON or in the Prometheus text format.
import { metricsAnswer } from "../core/metrics-answer.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { SysServices } from "./services.ts";

export function metricsPaths({ whole, clock }: Pick<SysServices, "whole" | "clock">) {
  return [
    definePrivilegedPath("metrics", {
      summary: "Metrics of this node, in JSON or for Prometheus.",
      description:
        "JSON in the form of go-metrics' summary, or with format=prometheus (or the Accept header of a scraper) the " +
        "Prometheus text format. Counters and samples are since the start of the server; its worker processes are one here.",
      fields: { format: withDefault(field.text("prometheus, or json, which is the default."), "") },
      operations: {
        read: {
          summary: "Show them.",
          handler: async ({ headers }, { format }) => {
            const accept = headers?.["accept"];
            const asked = { format, accept: typeof accept === "string" ? accept : "" };
            return { raw: await metricsAnswer(whole, asked, clock.now()) };
          },
        },
      },
    }),
  ];
}
