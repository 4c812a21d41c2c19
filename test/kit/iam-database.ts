// Signs in to a PostgreSQL as RDS does with IAM: over TLS alone, with a token of Signature Version 4 as the password, not
// older than it says. What is in order is passed on to a real PostgreSQL, which trusts the loopback. Written after the
// protocol's own description ("Message Flow: Start-up") and AWS's, beside the product's code and without it.
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import type { Clock } from "#common/clock.ts";
import type { PemPair } from "./tls-pair.ts";

const SSL_REQUEST = 80_877_103;
const FIVE_MINUTES = 300_000;

export interface IamDatabaseOptions {
  /** Of the real one. */
  readonly port: number;
  readonly pair: PemPair;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly region: string;
  readonly clock: Clock;
}

export interface IamDatabase {
  readonly port: number;
  /** Of each sign-in that was accepted. */
  readonly signatures: readonly string[];
  readonly refusals: readonly string[];
  /** Ends every connection. */
  cut(): void;
  close(): Promise<void>;
}

export async function startIamDatabase(options: IamDatabaseOptions): Promise<IamDatabase> {
  const [signatures, refusals, sockets]: [string[], string[], Set<Socket>] = [[], [], new Set()];
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  };
  let port = 0;
  const server = createServer((socket) => {
    keep(socket);
    void greet(socket, options, () => port, { keep, signatures, refusals }).catch(() => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" && address !== null ? address.port : 0;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    ...{ port, signatures, refusals, cut },
    close: async () => {
      cut();
      server.close();
      await once(server, "close");
    },
  };
}

interface Book {
  keep(socket: Socket): void;
  readonly signatures: string[];
  readonly refusals: string[];
}

async function greet(raw: Socket, options: IamDatabaseOptions, port: () => number, book: Book): Promise<void> {
  const request = await read(raw, 8);
  if (request.readUInt32BE(4) !== SSL_REQUEST) {
    refuse(raw, "pg_hba.conf rejects the connection: no encryption", book);
    return;
  }
  raw.write("S");
  const socket = new TLSSocket(raw, { isServer: true, secureContext: createSecureContext(options.pair) });
  book.keep(socket);
  const length = (await read(socket, 4)).readUInt32BE(0);
  const startup = await read(socket, length - 4);
  const words = startup.subarray(4).toString("utf8").split("\0");
  const user = words[words.indexOf("user") + 1] ?? "";
  socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])); // AuthenticationCleartextPassword
  const head = await read(socket, 5);
  const password = (await read(socket, head.readUInt32BE(1) - 4)).toString("utf8").replace(/\0$/, "");
  const fault = faultOf(password, user, port(), options);
  if (fault !== undefined) {
    refuse(socket, `PAM authentication failed for user "${user}"`, book, fault);
    return;
  }
  book.signatures.push(new URLSearchParams(password).get("X-Amz-Signature") ?? "");
  const onward = createConnection(options.port, "127.0.0.1");
  book.keep(onward);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(length);
  onward.write(Buffer.concat([size, startup]));
  socket.pipe(onward).pipe(socket);
  socket.on("close", () => onward.destroy());
  onward.on("close", () => socket.destroy());
}

/** Why a token is not in order. */
function faultOf(token: string, user: string, port: number, options: IamDatabaseOptions): string | undefined {
  const [address = "", query = ""] = token.split("/?");
  if (address !== `localhost:${port}`) return `it is for ${address}`;
  const [signed = "", signature] = query.split("&X-Amz-Signature=");
  const parameters = new URLSearchParams(signed);
  const get = (name: string) => parameters.get(name) ?? "";
  if (get("Action") !== "connect" || get("DBUser") !== user) return "it is for another action or user";
  if ((options.sessionToken ?? "") !== get("X-Amz-Security-Token")) return "the session token is another one";
  const stamp = get("X-Amz-Date");
  const scope = `${stamp.slice(0, 8)}/${options.region}/rds-db/aws4_request`;
  if (get("X-Amz-Credential") !== `${options.accessKeyId}/${scope}`) return "the credential is another one";
  const made = Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  const [now, life] = [options.clock.now(), Number(get("X-Amz-Expires")) * 1000];
  if (!(now - made <= Math.min(life, 900_000) && made - now < FIVE_MINUTES)) return "it has run out";
  const canonical = `GET\n/\n${signed}\nhost:${address}\n\nhost\n${sha256("")}`;
  const toSign = `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${sha256(canonical)}`;
  const key = [stamp.slice(0, 8), options.region, "rds-db", "aws4_request"].reduce<Buffer>(
    (last, part) => createHmac("sha256", last).update(part).digest(),
    Buffer.from(`AWS4${options.secretAccessKey}`),
  );
  const expected = createHmac("sha256", key).update(toSign).digest("hex");
  return expected === signature ? undefined : "the signature is wrong";
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function refuse(socket: Socket, message: string, book: Book, reason = message): void {
  book.refusals.push(reason);
  const fields = Buffer.from(`SFATAL\0VFATAL\0C28000\0M${message}\0\0`);
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeUInt32BE(fields.length + 4, 1);
  socket.end(Buffer.concat([head, fields]));
}

/** So many bytes, no more. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const chunk: unknown = socket.read(bytes);
    if (Buffer.isBuffer(chunk)) return chunk;
    if (socket.readableEnded || socket.destroyed) throw new Error("the connection ended");
    await Promise.race([once(socket, "readable"), once(socket, "end"), once(socket, "close")]);
  }
}
