// `import`: copies from a running Vault, OpenBao or Coffer through its API. The source's connection has flags and
// variables of its own; its token comes from a file or a variable, never from the command line.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { ApiClient } from "#client/api-client.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { CliIo } from "../cli-io.ts";
import { defineCommand } from "../command.ts";
import type { FlagValues } from "../flags.ts";
import { ImportReport } from "../import/import-report.ts";
import { importKinds } from "../import/kinds.ts";
import { runImport } from "../import/run-import.ts";
import { selectionOf } from "../import/selection.ts";
import { ProgressLine } from "../progress-line.ts";
import { connect, variable } from "../settings.ts";

/** More than this slows a server for its own clients and copies no faster. */
const PARALLEL_MAX = 64;
const PARALLEL_DEFAULT = 8;

const sourceFlags = {
  "from-address": { kind: "text", help: "Address of the server to copy from (COFFER_FROM_ADDR)." },
  "from-token-file": { kind: "text", help: "File with its token, instead of COFFER_FROM_TOKEN." },
  "from-namespace": { kind: "text", help: "Namespace to copy from (COFFER_FROM_NAMESPACE)." },
  "from-ca-cert": { kind: "text", help: "PEM file with the CA of its certificate (COFFER_FROM_CACERT)." },
  "from-client-cert": { kind: "text", help: "PEM file with a client certificate (COFFER_FROM_CLIENT_CERT)." },
  "from-client-key": { kind: "text", help: "PEM file with its key (COFFER_FROM_CLIENT_KEY)." },
  "from-tls-server-name": { kind: "text", help: "Name that its certificate must have (COFFER_FROM_TLS_SERVER_NAME)." },
  "from-tls-skip-verify": { kind: "switch", help: "Accept any certificate (COFFER_FROM_SKIP_VERIFY)." },
} as const;

export const importCommand = defineCommand({
  name: "import",
  summary:
    "Copies secrets, policies, roles and identity from a running Vault, OpenBao or Coffer. Run again, it goes on.",
  usage: "",
  flags: {
    ...sourceFlags,
    include: {
      kind: "texts",
      help: `Only these: KIND or KIND:PATH with *. Kinds: ${importKinds.map(({ name }) => name).join(" ")}.`,
    },
    exclude: { kind: "texts", help: "Not these, in the same form." },
    "dry-run": { kind: "switch", help: "Print what would be done and write nothing." },
    parallel: { kind: "number", help: `Items at once, ${PARALLEL_DEFAULT} by default.` },
  },
  examples: [
    "import -from-address=https://vault:8200 -from-token-file=vault-token -dry-run",
    "import -from-address=https://vault:8200 -from-token-file=vault-token",
    "import -from-address=https://vault:8200 -include=policies,kv:secret/team/* -exclude=kv:secret/team/old/*",
  ],
  args: [0, 0],
  async run({ client: target, flags, io, print }) {
    const parallel = flags.parallel ?? PARALLEL_DEFAULT;
    if (parallel < 1 || parallel > PARALLEL_MAX)
      throw new CofferError("invalid_request", `-parallel must be from 1 to ${PARALLEL_MAX}`);
    const names = importKinds.map(({ name }) => name);
    const selection = selectionOf(flags.include, flags.exclude, names);
    using source = await connectSource(flags, io);
    await assertTokens(source, target);
    const isDryRun = flags["dry-run"];
    const line = new ProgressLine(io);
    const tell = (text: string) => {
      line.end();
      print.note(text.trimEnd());
    };
    const report = new ImportReport(isDryRun, tell);
    const onItem: Parameters<typeof runImport>[0]["onItem"] = (item) => {
      report.add(item);
      line.show(item.kind, report.items, undefined);
    };
    try {
      const ends = { source, target, clock: io.clock };
      await runImport({ ends, kinds: importKinds, selection, isDryRun, parallel, signal: io.signal, onItem });
    } finally {
      line.end();
    }
    await print.value(report.toJson(), () => report.toTable() + nextStep(isDryRun, report));
    return report.failed === 0 ? 0 : 2;
  },
});

function nextStep(isDryRun: boolean, { failed, items }: ImportReport): string {
  if (items === 0) return "\nNothing in the source is chosen by -include and -exclude.\n";
  if (isDryRun) return "\nNothing was written. What needs something that is not there yet is told as skipped.\n";
  if (failed > 0) return "\nSome failed: see above, then run this again, which copies only what differs.\n";
  return "\nDone. Run it again just before clients move; it copies only what differs.\n";
}

/** A connection as the CLI's own, from the flags and variables that have FROM in their names. */
async function connectSource(flags: FlagValues<typeof sourceFlags>, io: CliIo): Promise<ApiClient> {
  const renamed = Object.entries(io.env).filter(([name]) => name.includes("_FROM_"));
  // Without HOME, so that the token of the destination is not taken for the source's.
  const env = Object.fromEntries(renamed.map(([name, value]) => [name.replace("_FROM_", "_"), value]));
  const fromIo = { ...io, env };
  if ((flags["from-address"] ?? variable(fromIo, "ADDR")) === undefined)
    throw new CofferError("invalid_request", "give -from-address=URL, the server to copy from");
  return connect(
    {
      address: flags["from-address"],
      token: await readToken(flags["from-token-file"], io),
      namespace: flags["from-namespace"],
      ns: undefined,
      "ca-cert": flags["from-ca-cert"],
      "client-cert": flags["from-client-cert"],
      "client-key": flags["from-client-key"],
      "tls-server-name": flags["from-tls-server-name"],
      "tls-skip-verify": flags["from-tls-skip-verify"],
    },
    fromIo,
  );
}

async function readToken(file: string | undefined, io: CliIo): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return (await readFile(resolve(io.cwd, file), "utf8")).trim();
  } catch (cause) {
    throw new CofferError("invalid_request", `-from-token-file: ${messageOf(cause)}`, { cause });
  }
}

/** Says at once, and once, when a token or an address is wrong. */
async function assertTokens(source: ApiClient, target: ApiClient): Promise<void> {
  try {
    await source.read("auth/token/lookup-self");
  } catch (cause) {
    const message = `the source does not answer its token: ${messageOf(cause)}; check -from-address and -from-token-file`;
    throw new CofferError("upstream_failed", message, { cause });
  }
  await target.read("auth/token/lookup-self");
}
