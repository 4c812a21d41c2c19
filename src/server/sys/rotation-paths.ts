// sys/key-status and sys/rotate: the barrier's keys. Every change is a part of the request's own commit.
import { formatGoDuration } from "#common/duration.ts";
import type { JsonObject } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent } from "../framework/reply.ts";
import { isRunning } from "../seal-wrap/rewrap-record.ts";
import type { TermsStatus } from "../seal-wrap/term-retirement.ts";
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
    termsPath(services),
    retirePath(services),
  ];
}

function rotationConfigPath(services: SysServices, pattern: string) {
  return definePrivilegedPath(pattern, {
    summary: "When keys rotate by themselves.",
    fields: {
      enabled: field.flag("Whether they do."),
      max_operations: field.integer("Encryptions after which a key ends."),
      interval: field.seconds("Age at which a key ends; 0 is never."),
      retire_after: field.seconds(
        "Time since its end after which a key is given up, once everything was encrypted anew; 0 is never.",
      ),
    },
    operations: {
      read: {
        summary: "Show it.",
        handler: () => {
          const policy = services.barrier.rotationPolicy();
          return dataReply({
            enabled: policy.enabled,
            interval: shownMillis(policy.interval_millis),
            max_operations: policy.max_encryptions,
            retire_after: shownMillis(policy.retire_after_millis),
          });
        },
      },
      update: {
        summary: "Change it.",
        handler: ({ transaction }, { enabled, max_operations, interval, retire_after }) => {
          const before = services.barrier.rotationPolicy();
          services.barrier.setRotationPolicy(transaction, {
            enabled: enabled ?? before.enabled,
            max_encryptions: max_operations ?? before.max_encryptions,
            interval_millis: interval === undefined ? before.interval_millis : interval * 1000,
            retire_after_millis:
              retire_after === undefined ? before.retire_after_millis : retire_after * 1000 || undefined,
          });
          return noContent;
        },
      },
    },
  });
}

function shownMillis(millis = 0): string | number {
  return millis === 0 ? 0 : formatGoDuration(millis / 1000);
}

function termsPath({ sealWrap }: SysServices) {
  return definePrivilegedPath("rotate/terms", {
    summary: "The keys of the barrier, and what is encrypted under each.",
    operations: {
      read: {
        summary: "Show them.",
        handler: async ({ transaction }) => dataReply(shownTerms(await sealWrap.terms.status(transaction))),
      },
    },
  });
}

function retirePath({ sealWrap, barrier }: SysServices) {
  return definePrivilegedPath("rotate/retire", {
    summary: "Gives up old keys of the barrier, once nothing is encrypted under them any more.",
    access: "sudo",
    fields: { term: field.integer("The newest of the terms to give up; all that are over without it.") },
    operations: {
      update: {
        summary: "Retire.",
        handler: async ({ transaction }, { term }) => {
          const retired = await sealWrap.terms.retire(transaction, term);
          return dataReply({ retired: [...retired], term: barrier.keyStatus().term });
        },
      },
    },
  });
}

function shownTerms({ terms, rewrap }: TermsStatus): JsonObject {
  return {
    terms: terms.map(({ term, installedAt, endedAt, encryptions, isActive, entries, share, isRetirable }) => ({
      ...{ term, active: isActive, encryptions, retirable: isRetirable },
      install_time: new Date(installedAt).toISOString(),
      end_time: endedAt === undefined ? null : new Date(endedAt).toISOString(),
      ...{ entries: entries ?? null, share: share ?? null },
    })),
    rewrap_running: isRunning(rewrap),
    count_time: isRunning(rewrap) && rewrap.counting ? null : (rewrap.coverageTime ?? null),
  };
}
