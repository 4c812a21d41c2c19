// The next step after an error, where there is one. Only codes and states are looked at, never messages.
import { ApiError } from "#client/api-error.ts";

/** A sentence that says what to do, or undefined. */
export function nextStep(error: unknown): string | undefined {
  if (!(error instanceof ApiError)) return undefined;
  return error.connection === undefined ? afterRefusal(error) : afterConnection(error);
}

function afterRefusal({ status, path }: ApiError): string | undefined {
  if (status === 403 && path.startsWith("auth/") && path.includes("/login")) {
    return "Is an auth method mounted at that path, and is the role right? See `coffer auth list`.";
  }
  if (status === 403)
    return "Does the token's policy allow this path? See `coffer token lookup`, or log in: `coffer login`.";
  if (status === 503) return "Is the server sealed? See `coffer status`, then `coffer operator unseal`.";
  if (status === 400 && path.startsWith("sys/init")) return "See `coffer status`.";
  return undefined;
}

function afterConnection({ connection, address }: ApiError): string | undefined {
  const isTls = address.startsWith("https:");
  switch (connection) {
    case "refused":
    case "unknown_host":
      return `Is ${address} right, and is the server running? Set VAULT_ADDR or -address.`;
    case "timeout":
      return "Is a firewall or a proxy in between? Does the address name the right port?";
    case "not_tls":
      return `The server seems to listen without TLS: try ${address.replace("https:", "http:")}.`;
    case "closed":
      return isTls ? undefined : `Does the server listen with TLS? Then the address begins with https://.`;
    case "untrusted_certificate":
      return "Give the CA's certificate with -ca-cert or VAULT_CACERT.";
    default:
      return undefined;
  }
}
