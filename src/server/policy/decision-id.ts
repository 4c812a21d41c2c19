// The id that a refused request carries. It is the decision itself, sealed: an administrator asks any node what it
// says, nobody else can read it, and a refusal writes nothing.
import type { Millis } from "#common/clock.ts";
import { parseJson } from "#common/json.ts";
import { type Infer, list, number, object, string } from "#common/schema.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { SealedTexts } from "../tokens/sealed-text.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { AccessRequest, Decision } from "./permissions.ts";

/** Header of the answer that carries it. */
export const DECISION_HEADER = "X-Coffer-Decision";

const decisionSchema = object({
  timeMillis: number,
  accessor: string,
  policies: list(string),
  operation: string,
  path: string,
  refusal: string,
  rule: string,
});
export type RefusedDecision = Infer<typeof decisionSchema>;

export class DecisionIds {
  readonly #texts = new SealedTexts("decision");

  seal(
    tx: Transaction,
    now: Millis,
    token: TokenRecord,
    request: Pick<AccessRequest, "operation" | "path">,
    decision: Decision,
  ): Promise<string> {
    const refused: RefusedDecision = {
      timeMillis: now,
      accessor: token.accessor,
      policies: token.policies,
      operation: request.operation,
      path: request.path,
      refusal: decision.refusal ?? "sudo",
      rule: decision.rule ?? "",
    };
    return this.#texts.seal(tx, JSON.stringify(refused));
  }

  async open(tx: Transaction, id: string): Promise<RefusedDecision | undefined> {
    const text = await this.#texts.open(tx, id.trim());
    return text === undefined ? undefined : decisionSchema.parse(parseJson(text), "decision");
  }
}
