// `config` of the Kubernetes auth method: which cluster reviews tokens, and as whom it is asked. Storage: `config`.
// Without a configuration a server that runs in a cluster asks that cluster.
import { createPublicKey, X509Certificate } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { boolean, type Infer, list, object, string } from "#common/schema.ts";
import { recordKind } from "../../barrier/transaction.ts";
import type { BackendHost } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { definePath, type Path } from "../../framework/path.ts";
import { dataReply, noContent } from "../../framework/reply.ts";

export const CONFIG_KEY = "config";

const configSchema = object({
  host: string,
  caCert: string,
  reviewerJwt: string,
  pemKeys: list(string),
  issuer: string,
  disableIssuerCheck: boolean,
  disableLocal: boolean,
});
export type Config = Infer<typeof configSchema>;
// Not cached: it may hold the reviewer's token.
const configKind = recordKind("kubernetes auth configuration", configSchema);

const NO_CONFIG: Config = {
  host: "",
  caCert: "",
  reviewerJwt: "",
  pemKeys: [],
  issuer: "",
  disableIssuerCheck: true,
  disableLocal: false,
};

/** The configuration, or the one of the cluster the server runs in. Throws `invalid_request` when there is neither. */
export async function readConfig(context: Context, host: BackendHost): Promise<Config> {
  const stored = await context.storage.read(configKind, CONFIG_KEY);
  if (stored !== undefined) return stored;
  const local = localHost(host);
  if (local === "")
    throw new CofferError("invalid_request", "could not load backend configuration; write it to config first");
  return { ...NO_CONFIG, host: local };
}

/** The API server of the cluster that this process runs in; "" outside of one. */
function localHost({ environment }: BackendHost): string {
  const name = environment["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = environment["KUBERNETES_SERVICE_PORT"] ?? "443";
  return name === "" ? "" : `https://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

export function configPath(host: BackendHost): Path<Context> {
  return definePath("config", {
    summary: "The cluster that reviews tokens.",
    fields: {
      kubernetes_host: field.text("URL of the API server; the server's own cluster by default."),
      kubernetes_ca_cert: field.text("CA of the API server as PEM; the local one by default."),
      token_reviewer_jwt: field.text("Token that may review; the local one by default, else the one to be reviewed."),
      pem_keys: field.list("Public keys or certificates as PEM that must have signed tokens, besides the review."),
      issuer: field.text("Issuer that tokens must have.", { deprecated: true }),
      disable_iss_validation: field.flag("Leave the issuer to the review.", { deprecated: true }),
      disable_local_ca_jwt: field.flag("Use neither the CA nor the token of the server's own pod."),
    },
    operations: {
      read: {
        summary: "Read the configuration; the reviewer's token is never shown.",
        handler: async ({ storage }) => {
          const config = await storage.read(configKind, CONFIG_KEY);
          return (
            config &&
            dataReply({
              kubernetes_host: config.host,
              kubernetes_ca_cert: config.caCert,
              pem_keys: config.pemKeys,
              issuer: config.issuer,
              disable_iss_validation: config.disableIssuerCheck,
              disable_local_ca_jwt: config.disableLocal,
              token_reviewer_jwt_set: config.reviewerJwt !== "",
            })
          );
        },
      },
      update: {
        summary: "Replace the configuration.",
        handler: ({ storage }, values) => {
          const disableLocal = values.disable_local_ca_jwt ?? false;
          const config: Config = {
            host: values.kubernetes_host || (disableLocal ? "" : localHost(host)),
            caCert: values.kubernetes_ca_cert ?? "",
            reviewerJwt: values.token_reviewer_jwt ?? "",
            pemKeys: values.pem_keys ?? [],
            issuer: values.issuer ?? "",
            disableIssuerCheck: values.disable_iss_validation ?? true,
            disableLocal,
          };
          assertConfig(config);
          storage.write(configKind, CONFIG_KEY, config);
          return noContent;
        },
      },
    },
  });
}

function assertConfig(config: Config): void {
  const refuse = (message: string): never => {
    throw new CofferError("invalid_request", message);
  };
  if (config.host === "") refuse("no host provided");
  const protocol = URL.parse(config.host)?.protocol;
  if (protocol !== "https:" && protocol !== "http:") refuse("kubernetes_host must be an http or https URL");
  if (config.disableLocal && config.caCert === "")
    refuse("kubernetes_ca_cert must be given when disable_local_ca_jwt is true");
  if (config.caCert !== "" && !parses(() => new X509Certificate(config.caCert)))
    refuse("kubernetes_ca_cert is not a certificate as PEM");
  if (config.pemKeys.some((pem) => !parses(() => createPublicKey(pem))))
    refuse("pem_keys has an entry that is neither a public key nor a certificate as PEM");
}

function parses(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch {
    return false;
  }
}
