// KV version 2: every write is a new version. The paths are in the files beside this one; records.ts has the layout.
import type { Backend } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import type { Handler } from "../../framework/path.ts";
import { definePath } from "../../framework/path.ts";
import { upgradeToV2 } from "./upgrade.ts";
import { configPath } from "./v2-config.ts";
import { dataPath } from "./v2-data.ts";
import { detailedMetadataPath } from "./v2-detailed.ts";
import { importPath } from "./v2-import.ts";
import { metadataPath } from "./v2-metadata.ts";
import { DATA_FOLDER, KEY_FOLDER } from "./v2-records.ts";
import { subkeysPath } from "./v2-subkeys.ts";
import { deletePath, destroyPath, undeletePath } from "./v2-versions.ts";

export function createKvV2(): Backend {
  return {
    type: "kv",
    summary: "Secrets by path, with versions, metadata and check-and-set.",
    sealWrapped: [DATA_FOLDER, KEY_FOLDER],
    upgrade: upgradeToV2,
    itemRecords: (path) => {
      const folder = `${DATA_FOLDER}${path}/`;
      const isVersion = (key: string) => key.startsWith(folder) && /^\d+$/.test(key.slice(folder.length));
      return { folders: [folder], has: (key) => key === KEY_FOLDER + path || isVersion(key) };
    },
    paths: [
      configPath,
      dataPath,
      metadataPath,
      detailedMetadataPath,
      subkeysPath,
      deletePath,
      undeletePath,
      destroyPath,
      importPath,
      strayPath,
    ],
  };
}

/** Clients of version 1 leave out `data/`; the warning tells them, and CLIs print it. */
function wrongPath(command: string): { summary: string; handler: Handler<":path?", Record<never, never>, Context> } {
  const warning =
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. " +
    `If using the Vault CLI, use 'vault kv ${command}' for this operation.`;
  return {
    summary: "Answers that the path lacks data/ or metadata/.",
    handler: () => ({ status: 404, warnings: [warning] }),
  };
}

const strayPath = definePath(":path?", {
  summary: "Any other path: not found, with a hint.",
  freeForm: true,
  operations: {
    read: wrongPath("get"),
    update: wrongPath("put"),
    delete: wrongPath("delete"),
    list: wrongPath("list"),
  },
});
