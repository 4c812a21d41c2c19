// sys/plugins/catalog: the types of backends that are built in, in the shape in which clients know a catalogue. Nothing
// can be registered: a type that is not in the image does not exist.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

const KINDS = ["auth", "database", "secret"] as const;
type Kind = (typeof KINDS)[number];

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
    definePrivilegedPath("plugins/catalog/:kind", {
      summary: "The types of one kind: auth, database or secret.",
      access: "sudo",
      operations: {
        list: { summary: "List them.", handler: (_context, { kind }) => dataReply({ keys: namesOf(kindOf(kind)) }) },
      },
    }),
    definePrivilegedPath("plugins/catalog/:kind/:name", {
      summary: "One type.",
      access: "sudo",
      operations: {
        read: {
          summary: "Show it.",
          handler: (_context, { kind, name }) =>
            namesOf(kindOf(kind)).includes(name)
              ? dataReply({ ...described(name), args: null, command: "", sha256: "" })
              : undefined,
        },
      },
    }),
  ];
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
