// What the server answered as the value that templates see, with the members that consul-template gives it.
import { isJsonArray, type JsonObject, type JsonValue } from "#common/json.ts";
import type { SourceResult } from "../sources.ts";
import type { SecretRequest } from "./function.ts";
import { fromJson, keepDigits, Struct, type Value } from "./values.ts";

export function secretValue({ verb }: SecretRequest, result: SourceResult): Value {
  if (result.kind !== "data") return null;
  const { data, lease } = result;
  if (verb === "list") return fromJson(data["keys"] ?? [], keepDigits);
  if (verb === "certificate") return certificateOf(data);
  return new Struct("*dependency.Secret", {
    ...{ RequestID: "", LeaseID: lease?.id ?? "", LeaseDuration: BigInt(lease?.seconds ?? 0) },
    ...{
      Renewable: lease?.renewable ?? false,
      Data: fromJson(data, keepDigits),
      Warnings: [],
      Auth: null,
      WrapInfo: null,
    },
  });
}

/** Each PEM ends with a newline, so that `{{ .Key }}{{ .Cert }}` is a file that can be read. */
function certificateOf(data: JsonObject): Value {
  const pem = (value: JsonValue | undefined) =>
    typeof value === "string" && value !== "" ? `${value.trimEnd()}\n` : "";
  const chain = data["ca_chain"];
  const fields = {
    ...{ Cert: pem(data["certificate"]), Key: pem(data["private_key"]), CA: pem(data["issuing_ca"]) },
    CAChain: isJsonArray(chain) ? chain.map(pem) : [],
  };
  return new Struct("dependency.PemEncoded", fields, { Data: () => new Struct("dependency.PemEncoded", fields) });
}
