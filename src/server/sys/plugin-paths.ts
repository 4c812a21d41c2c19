// sys/plugins/catalog: the types of backends that are built in, in the shape in which clients know a catalogue. Nothing
// can be registered: a type that is not in the image does not exist.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { field } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

const KINDS = ["auth", "database", "secret"] as const;
type Kind = (typeof KINDS)[number];

/** What clients send to register a plugin. */
const catalogueFields = {
  type: field.text("Has no effect."),
  sha256: field.text("Has no effect."),
  command: field.text("Has no effect."),
  args: field.list("Has no effect."),
  env: field.list("Has no effect."),
  version: field.text("Has no effect."),
  oci: field.flag("Has no effect."),
} as const;

const pluginFields = {
  plugin: field.text("Has no effect."),
  mounts: field.list("Has no effect."),
  scope: field.text("Has no effect."),
} as const;

export function pluginPaths(services: SysServices) {
  const namesOf = (kind: Kind) => catalogue(services, kind);
  return [
    definePrivilegedPath("plugins/catalog", {
      summary: "All types of backends.",
      operations: {
        read: {
          summary: "Show them.",
          handler: () =>
            dataReply({
              ...Object.fromEntries(KINDS.map((kind) => [kind, namesOf(kind)])),
              detailed: KINDS.flatMap((kind) => namesOf(kind).map((name) => ({ ...described(name), type: kind }))),
            }),
        },
      },
    }),
    definePrivilegedPath("plugins/reload/backend", {
      summary: "Starting plugins again: refused, there are none that run by themselves.",
      fields: pluginFields,
      operations: { update: { summary: "The reason.", handler: refuseReload } },
    }),
    definePrivilegedPath("plugins/catalog/:kind", {
      summary: "The types of one kind: auth, database or secret. With the name of a type: that one, whatever its kind.",
      access: "sudo",
      fields: catalogueFields,
      operations: {
        read: {
          summary: "Show a type by its name.",
          handler: (_context, { kind: name }) => {
            const kind = KINDS.find((each) => namesOf(each).includes(name));
            return kind && dataReply(shownType(name));
          },
        },
        update: { summary: "Refused, with the reason.", handler: refuseChange },
        delete: { summary: "Refused, with the reason.", handler: refuseChange },
        list: { summary: "List them.", handler: (_context, { kind }) => dataReply({ keys: namesOf(kindOf(kind)) }) },
      },
    }),
    definePrivilegedPath("plugins/catalog/:kind/:name", {
      summary: "One type.",
      access: "sudo",
      fields: catalogueFields,
      operations: {
        read: {
          summary: "Show it.",
          handler: (_context, { kind, name }) =>
            namesOf(kindOf(kind)).includes(name) ? dataReply(shownType(name)) : undefined,
        },
        update: { summary: "Refused, with the reason.", handler: refuseChange },
        delete: { summary: "Refused, with the reason.", handler: refuseChange },
      },
    }),
  ];
}

function refuseChange(): never {
  throw new CofferError(
    "invalid_request",
    "the plugin catalogue is read-only: types of backends are built in, and there are no external plugins",
  );
}

function refuseReload(): never {
  throw new CofferError(
    "invalid_request",
    "there are no external plugins to reload: types of backends are built in and keep no process of their own",
  );
}

function shownType(name: string): JsonObject {
  return { ...described(name), args: null, command: "", sha256: "" };
}

function catalogue(services: SysServices, kind: Kind): readonly string[] {
  const backends = services.backends();
  if (kind === "database") return [...backends.databasePlugins()].sort();
  return [...backends.types(kind === "auth" ? "auth" : "engines")].sort();
}

function kindOf(text: string): Kind {
  const kind = KINDS.find((known) => known === text);
  if (kind) return kind;
  throw new CofferError(
    "invalid_request",
    `there are no plugins of type ${JSON.stringify(text)}; the types are ${KINDS.join(", ")}`,
  );
}

function described(name: string): JsonObject {
  return { name, builtin: true, deprecation_status: "supported", version: "" };
}
