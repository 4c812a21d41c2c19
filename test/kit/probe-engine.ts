// An engine for the tests of the core: keeps notes, issues leases that it remembers, fails or waits when the test says
// so. What it does outside the transaction (the things it made and ended) is in arrays that the test reads.
import { CofferError } from "#common/errors.ts";
import { string } from "#common/schema.ts";
import type { BackendType } from "#server/framework/backend.ts";
import { field } from "#server/framework/fields.ts";
import { definePath } from "#server/framework/path.ts";
import { dataReply, noContent } from "#server/framework/reply.ts";

export interface Probe {
  readonly type: BackendType;
  /** Ids of things whose lease was ended, in order, repeats included. */
  readonly ended: string[];
  /** Ending a lease fails while this is true. */
  failing: boolean;
  /** Runs inside the handler of `run`, for what must happen while a request is under way. */
  during: () => Promise<void>;
}

export function createProbe(): Probe {
  const probe: Probe = { type: { type: "probe", create: () => backendOf(probe) }, ended: [], failing: false, during };
  return probe;
}

const during = async (): Promise<void> => {};

function backendOf(probe: Probe) {
  return {
    type: "probe",
    summary: "For tests.",
    paths: [leasePath, runPath(probe), notePath],
    leaseKinds: {
      thing: {
        async revoke(
          { storage }: { storage: { get(key: string): Promise<Uint8Array | undefined> } },
          internal: object,
        ) {
          if (probe.failing) throw new CofferError("upstream_failed", "the other system is down");
          const id = string.parse(Reflect.get(internal, "id"), "id");
          // As a real engine, it needs what the mount has stored.
          if ((await storage.get("note/config")) === undefined)
            throw new CofferError("internal", "no config is stored");
          probe.ended.push(id);
        },
      },
    },
  };
}

const leasePath = definePath("lease/:id", {
  summary: "A thing that ends.",
  fields: { ttl: field.seconds("How long."), max_ttl: field.seconds("At most.") },
  operations: {
    read: {
      summary: "Make it.",
      handler: (_context, { id, ttl, max_ttl }) => ({
        data: { id },
        lease: {
          ...{ kind: "thing", renewable: true, internal: { id } },
          ...{ ttlSeconds: ttl ?? 0, maxTtlSeconds: max_ttl ?? 0 },
        },
      }),
    },
  },
});

const runPath = (probe: Probe) =>
  definePath("run/:name", {
    summary: "Writes, then does what the test says, then fails if it is told to.",
    fields: { fail: field.flag("Fail after that.") },
    operations: {
      update: {
        summary: "Run.",
        handler: async (context, { name, fail }) => {
          const before = await context.storage.get(`run/${name}`);
          context.storage.put(`run/${name}`, Buffer.from(`${before === undefined ? "" : Buffer.from(before)}x`));
          await probe.during();
          if (fail === true) throw new CofferError("invalid_request", "failed as it was told");
          return noContent;
        },
      },
      read: {
        summary: "How often it ran.",
        handler: async (context, { name }) => {
          const value = await context.storage.get(`run/${name}`);
          return value && dataReply({ count: value.length });
        },
      },
    },
  });

const notePath = definePath("note/:name", {
  summary: "A note.",
  freeForm: true,
  operations: {
    update: {
      summary: "Write it.",
      handler: (context, { name }) => {
        context.storage.put(`note/${name}`, Buffer.from(JSON.stringify(context.data)));
        return noContent;
      },
    },
    read: {
      summary: "Read it.",
      handler: async (context, { name }) => {
        const value = await context.storage.get(`note/${name}`);
        return value && dataReply({ note: Buffer.from(value).toString("utf8") });
      },
    },
  },
});
