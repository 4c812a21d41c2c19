// One-time passwords: made for a user on a host, verified once by that host, found by address.
import { randomUUID } from "node:crypto";
import { isIP } from "node:net";
import { isWithin } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import { string } from "#common/schema.ts";
import type { LeaseKind } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, type Reply } from "../../framework/reply.ts";
import { addOtp, deleteOtp, ROLE_FOLDER, type Role, readRole, readZeroAddressRoles, takeOtp } from "./records.ts";
import { listOf } from "./roles.ts";

/** What a host's helper sends to see whether the mount answers. */
const ECHO_REQUEST = "verify-echo-request";
const ECHO_RESPONSE = "verify-echo-response";
/** Ours have 36 bytes; hashing what an unknown client sends must stay cheap. */
const OTP_BYTES_MAX = 256;
/** Roles that a look-up by address goes through. */
const LOOKUP_ROLES_MAX = 10_000;

/** Ends a password that was not used in time. */
export const otpLease: LeaseKind = {
  confined: true,
  async revoke({ storage }, internal) {
    deleteOtp(storage, string.parse(internal["otp"], "otp"));
  },
};

const ipField = { ip: field.text("Address of the host.") } as const;

export const credsPath = definePath("creds/:role", {
  summary: "One-time passwords of a role.",
  fields: { ...ipField, username: field.text("User to log in as; the role's default otherwise.") },
  operations: {
    update: {
      summary: "Make a password.",
      handler: (context, { role, ip, username }) => make(context, role, ip, username),
    },
  },
});

async function make(
  context: Context,
  name: string,
  sentIp: string | undefined,
  sentUser: string | undefined,
): Promise<Reply> {
  const { storage, clock, mount } = context;
  const role = await readRole(storage, name);
  if (!role) throw invalid(`Role ${JSON.stringify(name)} not found`);
  const username = sentUser || role.defaultUser;
  if (!mayLogInAs(role, username)) throw invalid("Username is not present is allowed users list");
  const ip = addressOf(sentIp);
  if (!serves(role, ip) && !(await readZeroAddressRoles(storage)).includes(name))
    throw invalid("Error validating IP: IP does not belong to role");
  const key = randomUUID();
  const ttlSeconds = mount.defaultTtlSeconds;
  const otp = await addOtp(storage, key, { role: name, username, ip, expires: clock.now() + ttlSeconds * 1000 });
  return {
    data: { ip, key, key_type: "otp", port: role.port, username },
    lease: { kind: "otp", ttlSeconds, maxTtlSeconds: 0, renewable: false, internal: { otp } },
  };
}

function mayLogInAs(role: Role, username: string): boolean {
  if (username === role.defaultUser || role.allowedUsers === "*") return true;
  return listOf(role.allowedUsers).includes(username);
}

function serves(role: Role, ip: string): boolean {
  return isWithin(listOf(role.cidrList), ip) && !isWithin(listOf(role.excludeCidrList), ip);
}

function addressOf(sent: string | undefined): string {
  if (!sent) throw invalid("Missing ip");
  if (isIP(sent) === 0) throw invalid(`Invalid IP ${JSON.stringify(sent)}`);
  return sent;
}

export const verifyPath = definePath("verify", {
  summary: "Asked by a host when somebody logs in with a password; a password is good once.",
  access: "public",
  fields: { otp: field.text("The password.") },
  operations: {
    update: { summary: "Verify and end a password.", handler: (context, { otp }) => verify(context, otp) },
  },
});

async function verify({ storage, clock }: Context, password = ""): Promise<Reply> {
  if (password === ECHO_REQUEST) return dataReply({ message: ECHO_RESPONSE });
  const otp = password === "" || password.length > OTP_BYTES_MAX ? undefined : await takeOtp(storage, password);
  if (!otp || otp.expires <= clock.now()) throw invalid("OTP not found");
  return dataReply({ ip: otp.ip, role_name: otp.role, username: otp.username });
}

export const lookupPath = definePath("lookup", {
  summary: "Roles that serve an address.",
  fields: ipField,
  operations: { update: { summary: "Look them up.", handler: (context, { ip }) => lookUp(context, addressOf(ip)) } },
});

async function lookUp({ storage }: Context, ip: string): Promise<Reply> {
  const names = await storage.list(ROLE_FOLDER, { limit: LOOKUP_ROLES_MAX });
  await storage.prefetch(names.map((name) => ROLE_FOLDER + name));
  const everywhere = await readZeroAddressRoles(storage);
  const roles: string[] = [];
  for (const name of names) {
    const role = await readRole(storage, name);
    if (role && (everywhere.includes(name) || serves(role, ip))) roles.push(name);
  }
  return dataReply({ roles });
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
