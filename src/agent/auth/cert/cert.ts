// Auto-auth by a client certificate, that of the vault stanza or one of its own. The proof is the TLS connection.

import { readFileSync } from "node:fs";
import { CofferError, messageOf } from "#common/errors.ts";
import { flag, text } from "#common/hcl/config-fields.ts";
import type { JsonObject } from "#common/json.ts";
import { defineAuthMethod, sendLogin } from "../auth-method.ts";

export const cert = defineAuthMethod({
  type: "cert",
  doc: "A client certificate, shown by the TLS connection.",
  fields: {
    name: text("Of the role on the server; without it the server tries all of them."),
    ca_cert: text("PEM file with the CA of the server's certificate; that of the vault stanza when left out."),
    client_cert: text("PEM file with the certificate; that of the vault stanza when left out."),
    client_key: text("PEM file with its key."),
    reload: flag("Read the files at each login, for certificates that are replaced.", false),
  },
  check: ({ client_cert, client_key }) =>
    (client_cert === undefined) === (client_key === undefined)
      ? undefined
      : "client_cert and client_key go together; give both or none",
  create: ({ name, ca_cert: ca, client_cert: certificate, client_key: key, reload }, place) => {
    const body: JsonObject = name === undefined ? {} : { name };
    const pair = () =>
      certificate === undefined || key === undefined ? undefined : { cert: readPem(certificate), key: readPem(key) };
    let last: ReturnType<typeof pair>;
    return async (signal) => {
      if (last === undefined || reload) last = pair();
      if (last === undefined) return sendLogin(place, body, signal);
      using client = place.openClient({ clientCertificate: last, ...(ca === undefined ? {} : { ca: readPem(ca) }) });
      return await sendLogin({ ...place, client }, body, signal);
    };
  },
});

function readPem(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CofferError("unavailable", `cannot read a certificate: ${messageOf(cause)}`, { cause });
  }
}
