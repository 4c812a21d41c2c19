// Which backend a client means. Clients of Vault call KV with its version said "kv-v1" and "kv-v2" (Terraform does), and
// a backend by its plugin's name "plugin"; what is stored is the one name that the registry knows.
import { CofferError } from "#common/errors.ts";

export interface MountType {
  readonly type: string;
  readonly options: Readonly<Record<string, string>>;
}

const KV_VERSIONS: Readonly<Record<string, string>> = { "kv-v1": "1", "kv-v2": "2" };

/** Throws `invalid_request` without a type, and for a version of what has none. */
export function resolveMountType(sent: MountType & { readonly pluginName: string }, isAuth: boolean): MountType {
  const { options } = sent;
  const type = sent.type === "plugin" ? sent.pluginName : sent.type;
  if (type === "")
    throw invalid(
      sent.type === "plugin"
        ? "plugin_name must be provided for plugin backend"
        : "backend type must be specified as a string",
    );
  const version = isAuth ? undefined : KV_VERSIONS[type];
  if (version !== undefined) return { type: "kv", options: { ...options, version } };
  if ((isAuth || type !== "kv") && (options["version"] ?? "") !== "")
    throw invalid(
      `${isAuth ? "auth method" : "secrets engine"} ${JSON.stringify(type)} does not allow setting a version`,
    );
  return { type, options };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
