// Where in the tree of namespaces a request is, and which other namespaces it may reach from there: its own and those
// below it, never those above or beside it.
import type { Transaction } from "../barrier/transaction.ts";
import type { NamespaceName, NamespaceScope } from "../framework/context.ts";
import { namespaceIdKey, namespacePathKind } from "./namespace-record.ts";
import { namespaceIdOf } from "./namespace-transaction.ts";

const ROOT: NamespaceName = { id: "", path: "" };
export const ROOT_SCOPE: NamespaceScope = { ...ROOT, lineage: [ROOT] };

export function childScope(parent: NamespaceScope, { id, path }: NamespaceName): NamespaceScope {
  return { id, path, lineage: [...parent.lineage, { id, path }] };
}

/**
 * What the path of a request in `scope` begins with for policies of the namespace `id`: "" for its own policies, "b/"
 * for those of the namespace above. Undefined when `id` is neither: its policies have no say here.
 */
export function pathFrom(scope: NamespaceScope, id: string): string | undefined {
  const above = scope.lineage.find((one) => one.id === id);
  return above && scope.path.slice(above.path.length);
}

/** Path of a namespace; "" for the root, undefined for one that is gone. */
export async function pathOfNamespace(tx: Transaction, id: string): Promise<string | undefined> {
  return id === "" ? "" : (await tx.read(namespacePathKind, namespaceIdKey(id)))?.path;
}

/** Whether a namespace is the scope's own or below it. */
export async function isWithin(tx: Transaction, id: string, scope: NamespaceScope): Promise<boolean> {
  if (id === scope.id) return true;
  return (await pathOfNamespace(tx, id))?.startsWith(scope.path) ?? false;
}

/** How a namespace's id is told to clients. */
export function shownId(id: string): string {
  return id === "" ? "root" : id;
}

const SUFFIX = /\.([0-9A-Za-z]{6})$/;

/** The namespace's id at the end of an accessor or a lease's id; "" when there is none. */
export function namespaceOfText(text: string): string {
  return SUFFIX.exec(text)?.[1] ?? "";
}

/** What the texts of a namespace end in. */
export function suffixOf(id: string): string {
  return id === "" ? "" : `.${id}`;
}

/** Id and path of the namespace that a transaction is the part of; the path of one that is gone is its id. */
export async function namespaceNameOf(tx: Transaction): Promise<NamespaceName> {
  const id = namespaceIdOf(tx);
  return { id, path: (await pathOfNamespace(tx, id)) ?? id };
}
