// `config`: the settings that hold for every key of a KV version 2 engine.
import { formatGoDuration } from "#common/duration.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, noContent } from "../../framework/reply.ts";
import { tellV2 } from "./kv-events.ts";
import { assertMaxVersions, readConfig, writeConfig } from "./v2-records.ts";

export const configPath = definePath("config", {
  summary: "Settings of the engine.",
  fields: {
    max_versions: field.integer("Versions to keep of each key; 0 is the default of 10."),
    cas_required: field.flag("Every write must carry the check-and-set parameter."),
    metadata_cas_required: field.flag("Every write of metadata must carry metadata_cas."),
    delete_version_after: field.seconds("Time after which a version counts as deleted; negative switches it off."),
  },
  operations: {
    read: {
      summary: "Read the settings.",
      handler: async (context) => {
        const config = await readConfig(context);
        return dataReply({
          max_versions: config.maxVersions,
          cas_required: config.casRequired,
          metadata_cas_required: config.metadataCasRequired,
          delete_version_after: formatGoDuration(config.deleteAfterSeconds),
        });
      },
    },
    update: {
      summary: "Change settings; those not sent stay.",
      handler: async (context, values) => {
        const before = await readConfig(context);
        const maxVersions = values.max_versions ?? before.maxVersions;
        assertMaxVersions(maxVersions);
        writeConfig(context, {
          maxVersions,
          casRequired: values.cas_required ?? before.casRequired,
          metadataCasRequired: values.metadata_cas_required ?? before.metadataCasRequired,
          deleteAfterSeconds: values.delete_version_after ?? before.deleteAfterSeconds,
        });
        tellV2(context, { what: "config-write", path: "config", dataPath: "config" });
        return noContent;
      },
    },
  },
});
