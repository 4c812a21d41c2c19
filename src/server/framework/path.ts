// The one place where a path is described. Routing, conversion of fields, the ACL's create-or-update question, help
// and OpenAPI all come from this definition and from nowhere else.
import type { Context, OpenForm, Operation, PrivilegedContext } from "./context.ts";
import { convertFields, type Fields, type Values } from "./fields.ts";
import type { Reply } from "./reply.ts";

/** "token": any valid token that the policies allow; "sudo": they must grant sudo; "public": no token at all. */
export type Access = "token" | "sudo" | "public";

type Trim<S extends string> = S extends `${infer N}*` ? N : S extends `${infer N}?` ? N : S;
type ParametersOf<P extends string> = P extends `${infer Head}/${infer Tail}`
  ? ParametersOf<Head> | ParametersOf<Tail>
  : P extends `:${infer Name}`
    ? Trim<Name>
    : never;
/** The pattern's own parameters are always there, as text. */
export type PathValues<P extends string> = { readonly [K in ParametersOf<P>]: string };

/** A handler answers a Reply, or undefined for "nothing there" (404). */
export type Handler<P extends string, F extends Fields, C> = (
  context: C,
  values: PathValues<P> & Values<F>,
) => Promise<Reply | undefined> | Reply | undefined;

export interface OperationDefinition<P extends string, F extends Fields, C> {
  readonly summary: string;
  readonly handler: Handler<P, F, C>;
}

export interface PathDefinition<P extends string, F extends Fields, C> {
  readonly summary: string;
  readonly description?: string;
  readonly access?: Access;
  /** At listeners that open this kind the path is public, whatever its access is elsewhere. */
  readonly openForm?: OpenForm;
  /** "always": answers while the server is sealed or not initialised. */
  readonly when?: "unsealed" | "always";
  /** Works on the whole server, which is not in any namespace but the root. */
  readonly rootOnly?: boolean;
  /** A capability that is as good as the operation's own. */
  readonly orCapability?: "subscribe";
  /** Names in the path count in any case: what a policy denies in lower case is denied in every spelling. */
  readonly caseless?: boolean;
  /** The body is the client's own data: unknown members are kept and not warned about. */
  readonly freeForm?: boolean;
  /** A write's body is not JSON but bytes without a limit, which the handler gets as they come. */
  readonly takesStream?: boolean;
  readonly fields?: F;
  /** Decides whether a write is a create or an update; without it every write is an update. */
  readonly exists?: (context: C, values: PathValues<P>) => Promise<boolean>;
  readonly operations: Partial<
    Record<"read" | "update" | "create" | "patch" | "delete" | "list" | "scan", OperationDefinition<P, F, C>>
  >;
}

/** A path without its type parameters, as routers keep it. */
export interface Path<C> {
  readonly pattern: string;
  readonly summary: string;
  readonly description: string;
  readonly access: Access;
  readonly openForm: OpenForm | undefined;
  readonly when: "unsealed" | "always";
  readonly rootOnly: boolean;
  readonly caseless: boolean;
  readonly orCapability: "subscribe" | undefined;
  readonly freeForm: boolean;
  readonly takesStream: boolean;
  readonly fields: Fields;
  readonly operations: ReadonlyMap<Operation, string>;
  /** The pattern's parameters of a matching path, or undefined. */
  match(path: string): Readonly<Record<string, string>> | undefined;
  exists: ((context: C, parameters: Readonly<Record<string, string>>) => Promise<boolean>) | undefined;
  handle(operation: Operation, context: C, parameters: Readonly<Record<string, string>>): Promise<Reply | undefined>;
}

/**
 * Describes a path. In the pattern ":name" is one segment, ":path*" is the rest (at least one character), and a last
 * ":path?" is the rest or nothing.
 */
export function definePath<
  const P extends string,
  const F extends Fields = Record<never, never>,
  C extends Context = Context,
>(pattern: P, definition: PathDefinition<P, F, C>): Path<C> {
  const matcher = compilePattern(pattern);
  const fields = definition.fields ?? ({} as F); // F is {} when no fields are given
  const { exists } = definition;
  return {
    pattern,
    summary: definition.summary,
    description: definition.description ?? definition.summary,
    access: definition.access ?? "token",
    openForm: definition.openForm,
    when: definition.when ?? "unsealed",
    rootOnly: definition.rootOnly ?? false,
    caseless: definition.caseless ?? false,
    orCapability: definition.orCapability,
    freeForm: definition.freeForm ?? false,
    takesStream: definition.takesStream ?? false,
    fields,
    operations: operationSummaries(definition.operations),
    match: matcher,
    exists: exists && ((context, parameters) => exists(context, parameters as PathValues<P>)), // the pattern made them
    async handle(operation, context, parameters) {
      const chosen =
        definition.operations[operation === "create" && !definition.operations.create ? "update" : known(operation)];
      if (!chosen) throw new Error(`no handler for ${operation} ${pattern}`);
      const data = Object.keys(fields).length === 0 ? {} : convertFields(fields, context.data);
      return chosen.handler(context, { ...data, ...parameters } as PathValues<P> & Values<F>); // both made above
    },
  };
}

/** The path as it is at a listener that takes these forms without a token. */
export function openedPath<C>(path: Path<C>, forms: readonly OpenForm[] = []): Path<C> {
  return path.openForm && forms.includes(path.openForm) ? { ...path, access: "public" } : path;
}

/** The same for the privileged backends (`sys`, `token`), whose handlers see the whole transaction. */
export function definePrivilegedPath<const P extends string, const F extends Fields = Record<never, never>>(
  pattern: P,
  definition: PathDefinition<P, F, PrivilegedContext>,
): Path<PrivilegedContext> {
  return definePath<P, F, PrivilegedContext>(pattern, definition);
}

function known(operation: Operation): Exclude<Operation, "help"> {
  if (operation === "help") throw new Error("help is answered from the definition");
  return operation;
}

function operationSummaries(
  operations: Readonly<Record<string, { summary: string } | undefined>>,
): ReadonlyMap<Operation, string> {
  const found = new Map<Operation, string>();
  for (const [name, operation] of Object.entries(operations))
    if (operation) found.set(name as Operation, operation.summary);
  if (found.has("update") && !found.has("create")) found.set("create", found.get("update") ?? "");
  return found;
}

function compilePattern(pattern: string): (path: string) => Readonly<Record<string, string>> | undefined {
  const names: string[] = [];
  const source = pattern
    .split("/")
    .map((segment, index) => {
      const lead = index === 0 ? "" : "/";
      if (!segment.startsWith(":")) return lead + segment.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const rest = segment.endsWith("*");
      const optional = segment.endsWith("?");
      names.push(segment.slice(1, rest || optional ? -1 : undefined));
      if (optional) return index === 0 ? "(.*)" : "(?:/(.*))?";
      return `${lead}${rest ? "(.+)" : "([^/]+)"}`;
    })
    .join("");
  const regex = new RegExp(`^${source}$`, "s");
  return (path) => {
    const match = regex.exec(path);
    return match ? Object.fromEntries(names.map((name, i) => [name, match[i + 1] ?? ""])) : undefined;
  };
}
