// An engine whose outside world is a set in the test's memory: for the tests of the journal that need to come in between
// at exact points. The one whose world outlives processes: outside-engine.ts.
import { CofferError } from "#common/errors.ts";
import { string } from "#common/schema.ts";
import type { Backend, BackendType, LeaseContext } from "#server/framework/backend.ts";
import { field } from "#server/framework/fields.ts";
import { definePath } from "#server/framework/path.ts";
import { noContent } from "#server/framework/reply.ts";

export interface Maker {
  readonly type: BackendType;
  /** What stands outside: `<id>-<number>`. */
  readonly outside: Set<string>;
  /** How many things were made so far; names are numbered by it. */
  made: number;
  /** Runs when the handler has read what it needs, before it makes a thing. */
  before: () => Promise<void>;
  /** Runs when a thing has been made, before the effect is over. */
  during: () => Promise<void>;
  /** Ending a thing fails while this is true. */
  failing: boolean;
  /** Ending such a thing never comes to an end. */
  hanging: (name: string) => boolean;
  /** Things that are being ended at the moment. */
  undoing: number;
  /** The most at once so far, by name. */
  readonly endings: Map<string, number>;
  /** Effects that were told that their time is over. */
  aborted: number;
}

export function createMaker(withinSeconds: number): Maker {
  const maker: Maker = {
    type: { type: "maker", create: () => backendOf(maker, withinSeconds) },
    outside: new Set(),
    made: 0,
    before: async () => {},
    during: async () => {},
    failing: false,
    hanging: () => false,
    undoing: 0,
    endings: new Map(),
    aborted: 0,
  };
  return maker;
}

function backendOf(maker: Maker, withinSeconds: number): Backend {
  const end = async (_context: LeaseContext, data: object) => {
    const name = string.parse(Reflect.get(data, "name"), "name");
    maker.undoing++;
    maker.endings.set(name, (maker.endings.get(name) ?? 0) + 1);
    if (maker.hanging(name)) await new Promise(() => {});
    maker.undoing--;
    if (maker.failing) throw new CofferError("upstream_failed", "the other system is down");
    maker.outside.delete(name);
  };
  return {
    type: "maker",
    summary: "For tests.",
    paths: [makePath(maker, withinSeconds), contendedPath],
    leaseKinds: { thing: { revoke: end } },
    effects: { thing: { undo: end } },
  };
}

const makePath = (maker: Maker, withinSeconds: number) =>
  definePath("make/:id", {
    summary: "A thing outside.",
    fields: {
      ttl: field.seconds("How long."),
      fail: field.flag("Fail when it is made."),
      shrug: field.flag("Go on when making it fails."),
      contend: field.flag("Read and write what all such requests do."),
    },
    operations: {
      update: {
        summary: "Make it.",
        handler: async (context, { id, ttl, fail, shrug, contend }) => {
          if (contend) await context.storage.get("contended");
          await maker.before();
          const name = `${id}-${++maker.made}`;
          const making = context.outside.make({ kind: "thing", data: { name }, withinSeconds }, async (signal) => {
            signal.addEventListener("abort", () => void maker.aborted++);
            maker.outside.add(name);
            await maker.during();
          });
          if (shrug) return making.then(() => noContent).catch(() => noContent);
          await making;
          if (contend) context.storage.put("contended", Buffer.from(name));
          if (fail) throw new CofferError("invalid_request", "failed as it was told");
          const internal = { name };
          return {
            data: { name },
            lease: { kind: "thing", ttlSeconds: ttl ?? 3_600, maxTtlSeconds: 0, renewable: true, internal },
          };
        },
      },
    },
  });

const contendedPath = definePath("contended", {
  summary: "A record that many requests read.",
  operations: {
    update: {
      summary: "Change it.",
      handler: ({ storage }) => {
        storage.put("contended", Buffer.from("changed"));
        return noContent;
      },
    },
  },
});
