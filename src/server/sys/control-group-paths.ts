// sys/control-group: approving requests of others, and seeing how far one's own is.
import { formatGoDuration } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { maxApprovalSeconds, setMaxApprovalSeconds } from "../approval/approval-config.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

const fields = { accessor: withDefault(field.text("Accessor of the request's wrapping token."), "") } as const;

export function controlGroupPaths({ held }: Pick<SysServices, "held">) {
  return [
    definePrivilegedPath("control-group/authorize", {
      summary: "Approves a request that waits for it.",
      description:
        "The caller's entity must be in a group that the policy of the requester names; who made the request counts " +
        "only where the policy says so. Answers whether that is enough.",
      fields,
      operations: {
        update: {
          summary: "Approve it.",
          handler: async (context, { accessor }) =>
            dataReply({ approved: await held.authorize(context, accessor, context.caller?.entityId ?? "") }),
        },
      },
    }),
    definePrivilegedPath("control-group/request", {
      summary: "How far a request is that waits for approval.",
      fields,
      operations: {
        update: {
          summary: "Show it.",
          handler: async (context, { accessor }) =>
            dataReply(await held.status(context, accessor, context.caller?.entityId ?? "")),
        },
      },
    }),
    configPath,
  ];
}

const configPath = definePrivilegedPath("config/control-group", {
  summary: "How long requests may wait for approval.",
  access: "sudo",
  fields: { max_ttl: field.seconds("At most so long, whatever policies say; a day by default.") },
  operations: {
    read: {
      summary: "Show it.",
      handler: async ({ transaction }) =>
        dataReply({ max_ttl: formatGoDuration(await maxApprovalSeconds(transaction)) }),
    },
    update: {
      summary: "Set it.",
      handler: ({ transaction }, { max_ttl: maxTtl }) => {
        if (maxTtl === undefined || maxTtl <= 0)
          throw new CofferError("invalid_request", "max_ttl must be given and longer than nothing");
        setMaxApprovalSeconds(transaction, maxTtl);
        return noContent;
      },
    },
    delete: {
      summary: "Set it back to a day.",
      handler: ({ transaction }) => {
        setMaxApprovalSeconds(transaction, undefined);
        return noContent;
      },
    },
  },
});
