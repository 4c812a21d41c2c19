// sys/key-status and sys/rotate: the barrier's keys. Every change is a part of the request's own commit.
import { formatGoDuration } from "#common/duration.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

export function rotationPaths(services: SysServices) {
  const rotate = ({ transaction }: PrivilegedContext) => {
    services.barrier.rotate(transaction);
    return noContent;
  };
  return [
    definePrivilegedPath("key-status", {
      summary: "The barrier's current key.",
      operations: {
        read: {
          summary: "Show it.",
          handler: () => {
            const { term, installedAt, encryptions } = services.barrier.keyStatus();
            return {
              ...dataReply({ term, install_time: new Date(installedAt).toISOString(), encryptions }),
              repeatAtTop: true,
            };
          },
        },
      },
    }),
    ...["rotate", "rotate/keyring"].map((pattern) =>
      definePrivilegedPath(pattern, {
        summary: "Begins a new key; what is stored stays readable.",
        access: "sudo",
        operations: { update: { summary: "Rotate.", handler: rotate } },
      }),
    ),
    ...["rotate/config", "rotate/keyring/config"].map((pattern) => rotationConfigPath(services, pattern)),
  ];
}

function rotationConfigPath(services: SysServices, pattern: string) {
  return definePrivilegedPath(pattern, {
    summary: "When keys rotate by themselves.",
    fields: {
      enabled: field.flag("Whether they do."),
      max_operations: field.integer("Encryptions after which a key ends."),
      interval: field.seconds("Age at which a key ends; 0 is never."),
    },
    operations: {
      read: {
        summary: "Show it.",
        handler: () => {
          const policy = services.barrier.rotationPolicy();
          return dataReply({
            enabled: policy.enabled,
            interval: policy.interval_millis === 0 ? 0 : formatGoDuration(policy.interval_millis / 1000),
            max_operations: policy.max_encryptions,
          });
        },
      },
      update: {
        summary: "Change it.",
        handler: ({ transaction }, { enabled, max_operations, interval }) => {
          const before = services.barrier.rotationPolicy();
          services.barrier.setRotationPolicy(transaction, {
            enabled: enabled ?? before.enabled,
            max_encryptions: max_operations ?? before.max_encryptions,
            interval_millis: interval === undefined ? before.interval_millis : interval * 1000,
          });
          return noContent;
        },
      },
    },
  });
}
