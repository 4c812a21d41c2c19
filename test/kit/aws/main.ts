// The responder as a process, for tests in which it runs beside a cluster or in it:
//   node test/kit/aws/main.ts -listen=0.0.0.0:4599 -region=eu-central-1 -access-key=AKIA… -secret-key=… \
//     -alias=alias/coffer -state=/data/aws.json [-account=…] [-tls-cert=FILE -tls-key=FILE]
// Prints one line of JSON with the endpoint once it listens; ends on SIGTERM or SIGINT.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type AwsResponderOptions, startAwsResponder } from "./responder.ts";

/** Go's habit of one dash is taken as well. */
const args = process.argv.slice(2).map((arg) => arg.replace(/^-(?=[a-z])/, "--"));
const { values } = parseArgs({
  args,
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    region: { type: "string", default: "eu-central-1" },
    account: { type: "string", default: "111122223333" },
    "access-key": { type: "string", default: "AKIACOFFERTESTKIT000" },
    "secret-key": { type: "string", default: "coffer-test-kit-secret" },
    /** May be given several times. */
    alias: { type: "string", multiple: true, default: ["alias/coffer"] },
    state: { type: "string" },
    "tls-cert": { type: "string" },
    "tls-key": { type: "string" },
  },
});
const responder = await startAwsResponder(optionsFrom(values));
process.stdout.write(`${JSON.stringify({ endpoint: responder.endpoint, port: responder.port })}\n`);
const stop = () => void responder.close().then(() => process.exit(0));
process.once("SIGTERM", stop);
process.once("SIGINT", stop);

function optionsFrom(flags: typeof values): AwsResponderOptions {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(flags.listen) ?? [];
  if (host === undefined || port === undefined) throw new Error("-listen must be HOST:PORT");
  const tlsCert = flags["tls-cert"];
  const tlsKey = flags["tls-key"];
  return {
    listen: { host, port: Number(port) },
    region: flags.region,
    account: flags.account,
    principals: [{ accessKeyId: flags["access-key"], secretAccessKey: flags["secret-key"], userName: "coffer" }],
    aliases: flags.alias,
    ...(flags.state === undefined ? {} : { stateFile: flags.state }),
    ...(tlsCert === undefined || tlsKey === undefined
      ? {}
      : { tls: { cert: readFileSync(tlsCert, "utf8"), key: readFileSync(tlsKey, "utf8") } }),
  };
}
