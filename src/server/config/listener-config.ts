// One listener stanza, typed and checked. Files are named here and read by whoever opens the listener.
import { assertBlocks } from "#common/cidr.ts";
import { readFields } from "#common/hcl/config-fields.ts";
import { blocksOf, type HclBlock, hclError } from "#common/hcl/syntax-tree.ts";
import { LISTENER_FIELDS, LISTENER_TELEMETRY_FIELDS } from "./config-schema.ts";

export type TlsVersion = "TLSv1.2" | "TLSv1.3";

export interface TlsConfig {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string | undefined;
  /** "none": do not ask; "request": take one if there is one; "require": refuse clients without. */
  readonly clientCertificates: "none" | "request" | "require";
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
}

export interface ForwardedForConfig {
  readonly authorizedAddresses: readonly string[];
  readonly hopSkips: number;
  readonly rejectNotPresent: boolean;
  readonly rejectNotAuthorized: boolean;
}

export interface ListenerConfig {
  readonly host: string;
  readonly port: number;
  /** Undefined when TLS is disabled. */
  readonly tls: TlsConfig | undefined;
  readonly maxRequestBytes: number;
  readonly maxRequestSeconds: number;
  /** Requests without "X-Vault-Request: true" are refused: a browser cannot be made to send it from another site. */
  readonly requireRequestHeader: boolean;
  /** Undefined when no proxy is believed. */
  readonly forwardedFor: ForwardedForConfig | undefined;
  readonly unauthenticatedMetrics: boolean;
  /** Who has shares needs no token for new shares of keys, or for a new root token. */
  readonly unauthenticatedRekey: boolean;
  readonly unauthenticatedRootGeneration: boolean;
}

type Values = ReturnType<typeof readValues>;

function readValues(block: HclBlock, warnings: string[]) {
  const where = 'listener "tcp"';
  return readFields(block.body, LISTENER_FIELDS, { where, alsoKnown: ["telemetry"], warnings });
}

/** Throws `invalid_request` with the position. */
export function readListener(block: HclBlock, defaultMaxRequestSeconds: number, warnings: string[]): ListenerConfig {
  const type = block.labels[0]?.text;
  if (type !== "tcp") throw hclError(block.position, `there is no listener type ${JSON.stringify(type)}; write "tcp"`);
  const values = readValues(block, warnings);
  const telemetry = blocksOf(block.body, "telemetry", 0).map((inner) =>
    readFields(inner.body, LISTENER_TELEMETRY_FIELDS, { where: "the listener's telemetry", warnings }),
  );
  return {
    ...hostAndPort(block, values.address),
    tls: values.tls_disable ? undefined : tlsOf(block, values),
    maxRequestBytes: values.max_request_size,
    maxRequestSeconds: values.max_request_duration || defaultMaxRequestSeconds,
    requireRequestHeader: values.require_request_header,
    forwardedFor: forwardedForOf(values),
    unauthenticatedMetrics: telemetry.some((each) => each.unauthenticated_metrics_access),
    unauthenticatedRekey: !values.disable_unauthed_rekey_endpoints,
    unauthenticatedRootGeneration: !values.disable_unauthed_generate_root_endpoints,
  };
}

function tlsOf(block: HclBlock, values: Values): TlsConfig {
  const { tls_cert_file: certFile, tls_key_file: keyFile, tls_client_ca_file: clientCaFile } = values;
  if (!certFile || !keyFile)
    throw hclError(
      block.position,
      "the listener needs tls_cert_file and tls_key_file; for plain HTTP write tls_disable = true",
    );
  if (values.tls_require_and_verify_client_cert && values.tls_disable_client_certs)
    throw hclError(
      block.position,
      "tls_require_and_verify_client_cert and tls_disable_client_certs exclude each other; leave one out",
    );
  if (values.tls_require_and_verify_client_cert && !clientCaFile)
    throw hclError(block.position, "tls_require_and_verify_client_cert needs tls_client_ca_file");
  if (values.tls_min_version > values.tls_max_version)
    throw hclError(block.position, "tls_min_version must not be above tls_max_version");
  const wanted = values.tls_disable_client_certs ? "none" : "request";
  return {
    certFile,
    keyFile,
    clientCaFile,
    clientCertificates: values.tls_require_and_verify_client_cert ? "require" : wanted,
    minVersion: values.tls_min_version === "tls12" ? "TLSv1.2" : "TLSv1.3",
    maxVersion: values.tls_max_version === "tls12" ? "TLSv1.2" : "TLSv1.3",
  };
}

function forwardedForOf(values: Values): ForwardedForConfig | undefined {
  if (values.x_forwarded_for_authorized_addrs.length === 0) return undefined;
  assertBlocks("x_forwarded_for_authorized_addrs", values.x_forwarded_for_authorized_addrs);
  return {
    authorizedAddresses: values.x_forwarded_for_authorized_addrs,
    hopSkips: values.x_forwarded_for_hop_skips,
    rejectNotPresent: values.x_forwarded_for_reject_not_present,
    rejectNotAuthorized: values.x_forwarded_for_reject_not_authorized,
  };
}

/** "127.0.0.1:8200", "[::]:8200", ":8200" (every address). */
function hostAndPort(block: HclBlock, address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (!match || port > 65_535)
    throw hclError(block.position, `address ${JSON.stringify(address)} must be host:port, such as "0.0.0.0:8200"`);
  return { host: match[1] ?? (match[2] || "::"), port };
}
