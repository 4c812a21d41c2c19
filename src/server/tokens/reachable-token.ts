// Tokens that a request may name: those of its own namespace and of the namespaces below, and the one that it carries.
import type { PrivilegedContext } from "../framework/context.ts";
import { isWithin, namespaceOfText, pathFrom } from "../namespaces/namespace-scope.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import type { TokenRecord } from "./token-record.ts";
import type { TokenService } from "./token-service.ts";
import { readTokenByAccessor } from "./token-store.ts";

type Place = Pick<PrivilegedContext, "transaction" | "scope" | "clientToken">;

/** The live token of this text; undefined for one that is out of the request's reach. */
export async function findToken(
  { transaction: tx, scope, clientToken }: Place,
  tokens: TokenService,
  text: string,
): Promise<TokenRecord | undefined> {
  const token = text === "" ? undefined : await tokens.find(tx, text);
  if (!token) return undefined;
  if (text === clientToken && pathFrom(scope, token.namespace) !== undefined) return token;
  return (await isWithin(tx, token.namespace, scope)) ? token : undefined;
}

export async function findTokenByAccessor(
  { transaction: tx, scope }: Omit<Place, "clientToken">,
  accessor: string,
): Promise<TokenRecord | undefined> {
  const namespace = namespaceOfText(accessor);
  if (!(await isWithin(tx, namespace, scope))) return undefined;
  return readTokenByAccessor(namespaceView(tx, namespace), accessor);
}
