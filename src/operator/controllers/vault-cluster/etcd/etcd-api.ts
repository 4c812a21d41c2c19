// Calls about members and upkeep to one etcd member, by the JSON form of its API (etcd.io: dev-guide/api_grpc_gateway).
// Numbers of members are 64 bits wide and stay texts. Reads and writes no key.
import { request } from "node:https";
import type { Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { boolean, type Infer, list, object, optional, string, withDefault } from "#common/schema.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";

const member = object({
  ID: string,
  /** Empty until it has started. */
  name: withDefault(string, ""),
  peerURLs: withDefault(list(string), []),
  isLearner: withDefault(boolean, false),
});
export type EtcdMember = Infer<typeof member>;
const memberList = object({ members: withDefault(list(member), []) });

const status = object({
  header: object({ member_id: string }),
  version: withDefault(string, ""),
  /** Bytes of the database file, and of what is in use in it. */
  dbSize: withDefault(string, "0"),
  dbSizeInUse: withDefault(string, "0"),
  /** "0" while there is none. */
  leader: withDefault(string, "0"),
  isLearner: withDefault(boolean, false),
  errors: withDefault(list(string), []),
});
export type EtcdStatus = Infer<typeof status>;

export interface EtcdTrust {
  /** PEM of the authorities. */
  readonly ca: string;
  readonly certificatePem: string;
  readonly privateKeyPem: SecretBytes;
}

export interface EtcdPlace {
  readonly host: string;
  readonly port: number;
  /** The name that its certificate is verified against. */
  readonly serverName: string;
}

/** A pod on the same network answers in milliseconds. */
const CALL_MILLIS: Millis = 3000;
/** The member answers nobody while it is defragmented: about a second for each 100 MB, as etcd's own command allows. */
const DEFRAGMENT_MILLIS: Millis = 60_000;
/** A list of members and a status are a few kilobytes. */
const ANSWER_BYTES_MAX = 1024 * 1024;

/** Every call throws `unavailable` when there is no answer, `upstream_failed` with etcd's words when it refuses. */
export interface EtcdApi {
  status(): Promise<EtcdStatus>;
  members(): Promise<readonly EtcdMember[]>;
  /** Adds a member that has no vote until it is promoted. */
  addLearner(peer: string): Promise<void>;
  promote(id: string): Promise<void>;
  remove(id: string): Promise<void>;
  defragment(): Promise<void>;
  /** Lets writes in again after the database was full. */
  disarm(memberId: string): Promise<void>;
}

export function createEtcdApi(place: EtcdPlace, trust: EtcdTrust, signal: AbortSignal): EtcdApi {
  const call = (path: string, body: JsonObject, millis = CALL_MILLIS) =>
    post({ place, trust, path: `/v3/${path}`, body, signal: AbortSignal.any([signal, AbortSignal.timeout(millis)]) });
  return {
    status: async () => status.parse(await call("maintenance/status", {}), "status"),
    members: async () => memberList.parse(await call("cluster/member/list", {}), "member list").members,
    async addLearner(peer) {
      await call("cluster/member/add", { peerURLs: [peer], isLearner: true });
    },
    async promote(id) {
      await call("cluster/member/promote", { ID: id });
    },
    async remove(id) {
      await call("cluster/member/remove", { ID: id });
    },
    async defragment() {
      await call("maintenance/defragment", {}, DEFRAGMENT_MILLIS);
    },
    async disarm(memberID) {
      await call("maintenance/alarm", { action: "DEACTIVATE", memberID, alarm: "NOSPACE" });
    },
  };
}

interface Call {
  readonly place: EtcdPlace;
  readonly trust: EtcdTrust;
  readonly path: string;
  readonly body: JsonObject;
  readonly signal: AbortSignal;
}

async function post({ place, trust, path, body, signal }: Call): Promise<JsonValue> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const sent = request(
    {
      ...{ host: place.host, port: place.port, servername: place.serverName, path, method: "POST", signal },
      ...{ ca: trust.ca, cert: trust.certificatePem, key: trust.privateKeyPem.expose() },
      headers: { "content-type": "application/json" },
      agent: false,
    },
    (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) response.destroy(new Error("the answer is too large"));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    },
  );
  sent.on("error", reject);
  sent.end(JSON.stringify(body));
  const answer = await promise.catch((cause: unknown) => {
    throw new CofferError("unavailable", `etcd at ${place.host} does not answer: ${messageOf(cause)}`, { cause });
  });
  if (answer.status === 200) return parseJson(answer.text);
  throw new CofferError("upstream_failed", `etcd refused ${path}: ${reasonIn(answer.text)}`);
}

const refusal = object({ message: optional(string), error: optional(string) });

function reasonIn(text: string): string {
  try {
    const { message, error } = refusal.parse(parseJson(text), "refusal");
    return message ?? error ?? "no reason is given";
  } catch {
    return text.slice(0, 200);
  }
}
