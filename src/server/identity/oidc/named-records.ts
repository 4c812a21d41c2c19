// What the folders of named things have alike: a list of names, one that can be read, written and deleted.
import { CofferError } from "#common/errors.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import type { Fields, Values } from "../../framework/fields.ts";
import { withTrailingSlash } from "../../framework/listing.ts";
import { definePrivilegedPath, type Path } from "../../framework/path.ts";
import { listReply, type Reply } from "../../framework/reply.ts";
import { type Folder, listNames } from "./oidc-records.ts";

type Answer = Promise<Reply | undefined> | Reply | undefined;

interface NamedRecords<F extends Fields> {
  readonly folder: Folder;
  /** "a scope, which …": the path's summary. */
  readonly summary: string;
  readonly fields: F;
  /** "scopes" of the folder "scope", unless it says otherwise. */
  readonly plural?: string;
  /** Names that are there without being stored. */
  readonly builtin?: readonly string[];
  exists(context: PrivilegedContext, name: string): Promise<boolean>;
  /** Without it a list has names only. */
  list?(context: PrivilegedContext): Answer;
  read(context: PrivilegedContext, name: string): Answer;
  write(context: PrivilegedContext, values: Values<F> & { readonly name: string }): Answer;
  remove(context: PrivilegedContext, name: string): Answer;
}

export function namedPaths<const F extends Fields>(records: NamedRecords<F>): readonly Path<PrivilegedContext>[] {
  const { folder, builtin, exists, read, write, remove } = records;
  const list = async (context: PrivilegedContext) =>
    listReply(await listNames(context.transaction, folder, context.page, builtin));
  return [
    withTrailingSlash(
      definePrivilegedPath(`oidc/${folder}`, {
        summary: `All ${records.plural ?? `${folder}s`}.`,
        operations: { list: { summary: "List them.", handler: (context) => (records.list ?? list)(context) } },
      }),
    ),
    definePrivilegedPath(`oidc/${folder}/:name`, {
      summary: records.summary,
      fields: records.fields,
      exists: (context, { name }) => exists(context, name),
      operations: {
        read: { summary: "Show it.", handler: (context, { name }) => read(context, name) },
        update: { summary: "Make or change it.", handler: (context, values) => write(context, values) },
        delete: { summary: "Delete it.", handler: (context, { name }) => remove(context, name) },
      },
    }),
  ];
}

/** Throws `invalid_request` when something still refers to what is to be deleted; `nouns` such as "clients". */
export function assertUnreferenced(
  folder: Folder,
  name: string,
  users: readonly { readonly name: string }[],
  nouns: string,
): void {
  if (users.length === 0) return;
  throw new CofferError(
    "invalid_request",
    `unable to delete ${folder} ${JSON.stringify(name)} because it is currently referenced by these ${nouns}: ${users.map((user) => user.name).join(", ")}`,
  );
}
