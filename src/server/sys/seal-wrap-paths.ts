// sys/sealwrap: the seal's layer on critical values. How far entries are brought to it, and by which seals and keys.
import type { JsonObject } from "#common/json.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent } from "../framework/reply.ts";
import { type Coverage, isRunning, type Rewrap } from "../seal-wrap/rewrap-record.ts";
import type { SealWrapStatus } from "../seal-wrap/seal-wrap.ts";
import type { WrapGeneration } from "../seal-wrap/wrap-keys.ts";
import type { SysServices } from "./services.ts";

export function sealWrapPaths({ sealWrap }: SysServices) {
  return [
    definePrivilegedPath("sealwrap/rewrap", {
      summary: "Brings what is stored to the form it would have if it were written now.",
      access: "sudo",
      operations: {
        read: {
          summary: "How far it is, and what is wrapped by which seals and keys.",
          handler: async ({ transaction }) => {
            const status = await sealWrap.status(transaction);
            return dataReply(shown(status, await sealWrap.whyNot(transaction)));
          },
        },
        update: {
          summary: "Start it; one that is under way is followed by another.",
          handler: async ({ transaction }) => {
            await sealWrap.start(transaction);
            return noContent;
          },
        },
      },
    }),
    definePrivilegedPath("sealwrap/rotate", {
      summary: "Makes a new seal-wrap key and starts the rewrap; keys of old go when nothing is under them any more.",
      access: "sudo",
      operations: {
        update: { summary: "Rotate.", handler: async () => dataReply({ generation: await sealWrap.rotate() }) },
      },
    }),
  ];
}

function shown({ keys, rewrap }: SealWrapStatus, whyNot: string | undefined): JsonObject {
  return {
    is_running: isRunning(rewrap),
    entries: { processed: rewrap.processed, succeeded: rewrap.succeeded, failed: rewrap.failed },
    ...times(rewrap),
    wrapping: keys?.wrapping ?? false,
    ...(whyNot !== undefined && { reason: whyNot }),
    generations: (keys?.generations ?? []).map(shownGeneration),
    coverage: rewrap.coverage ? shownCoverage(rewrap.coverage, rewrap.coverageTime) : null,
    ...(isRunning(rewrap) && rewrap.counting && { counting: shownCounting(rewrap.counting) }),
  };
}

function times({ startedTime, finishedTime, lastError }: Rewrap): JsonObject {
  return { start_time: startedTime ?? null, end_time: finishedTime ?? null, last_error: lastError ?? "" };
}

function shownGeneration({ generation, createdTime, copies }: WrapGeneration): JsonObject {
  const seals = copies.map(({ seal, keyId, wrappedTime }) => ({ name: seal, key_id: keyId, wrap_time: wrappedTime }));
  return { generation, create_time: createdTime, seals };
}

/** Of the walk under way: what it has met so far, and what it has left. */
function shownCounting({ entries, terms, found }: Coverage): JsonObject {
  return { entries, by_term: { ...terms }, by_term_before: { ...found } };
}

function shownCoverage({ entries, plain, generations, terms }: Coverage, time: string | undefined): JsonObject {
  const wrapped = Object.values(generations).reduce((sum, one) => sum + one, 0);
  const critical = wrapped + plain;
  return {
    time: time ?? null,
    entries,
    critical,
    wrapped,
    share: critical === 0 ? 1 : wrapped / critical,
    by_generation: { ...generations },
    by_term: { ...terms },
  };
}
