// `audit verify`: finds lines of an audit log that were changed, removed, added or moved. The lines stay here; the server
// is asked about their digests, because the key of the chain never leaves it.
import { resolve } from "node:path";
import type { ApiClient } from "#client/api-client.ts";
import { type ChainLink, PROOFS_MAX, readLink } from "#common/audit-chain.ts";
import { list, number, object, string } from "#common/schema.ts";
import { type FileLine, linesOf } from "../audit-lines.ts";
import { ChainVerifier, type Finding, type Place } from "../chain-verifier.ts";
import { defineCommand } from "../command.ts";

const headSchema = object({ writer: string, number });
const verdictSchema = object({ invalid: list(number) });

interface LinkedLine {
  readonly place: Place;
  readonly link: ChainLink | undefined;
  readonly isWhole: boolean;
}

export const verify = defineCommand({
  name: "audit verify",
  summary: "Finds lines of an audit log that were changed, removed, added or moved.",
  usage: "<file>...",
  flags: {
    device: { kind: "text", help: "Path of the device that wrote the file; `file` by default." },
    live: {
      kind: "switch",
      help: "The last file is being written by the server that is asked: its end must be there.",
    },
  },
  examples: ["audit verify /var/log/audit.log.1 /var/log/audit.log", "audit verify -device=siem collected.log"],
  args: [1, Number.POSITIVE_INFINITY],
  async run({ client, flags, args, io, print }) {
    const path = `sys/audit-verify/${(flags.device ?? "file").replace(/^\/+|\/+$/g, "")}`;
    // Asked first: whatever the server had written by then must be in the file.
    const head = headSchema.parse((await client.read(path)).data, "head");
    const verifier = new ChainVerifier();
    await verifyLines(linesOf(args.map((name) => ({ name, path: resolve(io.cwd, name) }))), client, path, verifier);
    const { lines, findings } = verifier.finish();
    const all = [...findings, ...atEnd(verifier, head, flags.live, args.at(-1) ?? "")];
    const problems = all.filter(({ kind }) => kind === "problem");
    const report = { lines, problems: problems.length, findings: all.map((finding) => ({ ...finding })) };
    await print.value(report, () => describe(lines, all));
    return problems.length === 0 ? 0 : 2;
  },
});

/** In pages of as many lines as one request may ask about. */
async function verifyLines(
  lines: AsyncIterable<FileLine>,
  client: ApiClient,
  path: string,
  verifier: ChainVerifier,
): Promise<void> {
  let page: LinkedLine[] = [];
  for await (const { file, line, bytes, isWhole } of lines) {
    if (bytes.length === 0) continue;
    page.push({ place: { file, line }, link: readLink(bytes), isWhole });
    if (page.length < PROOFS_MAX) continue;
    await verifyPage(page, client, path, verifier);
    page = [];
  }
  await verifyPage(page, client, path, verifier);
}

async function verifyPage(
  page: readonly LinkedLine[],
  client: ApiClient,
  path: string,
  verifier: ChainVerifier,
): Promise<void> {
  const links = page.map(({ link }) => link).filter((link) => link !== undefined);
  const invalid = new Set<ChainLink | undefined>();
  if (links.length > 0) {
    const proofs = Buffer.concat(links.flatMap(({ digest, mac }) => [digest, Buffer.from(mac, "base64url")]));
    const answer = await client.write(path, { proofs: proofs.toString("base64") });
    for (const index of verdictSchema.parse(answer.data, "answer").invalid) invalid.add(links[index]);
  }
  for (const { place, link, isWhole } of page) {
    if (link || isWhole) verifier.add(place, link, !invalid.has(link));
    else verifier.addUnfinished(place);
  }
}

/** Lines that were cut off the end show only when somebody knows how many there were: the server, of its own. */
function atEnd(
  verifier: ChainVerifier,
  head: { writer: string; number: number },
  live: boolean,
  file: string,
): readonly Finding[] {
  const last = verifier.lastOf(head.writer) ?? 0;
  if (last >= head.number) return [];
  const message = `the server has written ${head.number} lines as writer ${head.writer}, the log ends with number ${last}`;
  return [{ file, line: 0, kind: live ? "problem" : "note", message }];
}

function describe(lines: number, findings: readonly Finding[]): string {
  const told = findings.map(({ file, line, kind, message }) => {
    const place = line === 0 ? file : `${file}:${line}`;
    return `${place}: ${kind === "note" ? "note: " : ""}${line === 0 ? "" : "this line "}${message}\n`;
  });
  const problems = findings.filter(({ kind }) => kind === "problem").length;
  const verdict = problems === 0 ? "all as they were written" : `${problems} problem${problems === 1 ? "" : "s"}`;
  return `${told.join("")}${lines} lines: ${verdict}.\n`;
}
