// A heredoc of HCL 1: from "<<MARK" to a line that holds the mark alone. "<<-MARK" takes away the indent of the
// closing mark, if every line has it.
import { hclError, type Position } from "./syntax-tree.ts";

const OPENING = /^<<(-?)([\p{L}\p{Nd}_]+)\r?\n/u;
/** A longer mark than this is no heredoc; it bounds what the opening is searched in. */
const MARK_LENGTH_MAX = 200;

/** The text of the heredoc that opens at `start`, its last newline included, and how many code units all of it takes. */
export function readHeredoc(text: string, start: number, position: Position): { value: string; length: number } {
  const opening = OPENING.exec(text.slice(start, start + MARK_LENGTH_MAX));
  if (!opening?.[2]) throw hclError(position, "heredoc anchor must be <<MARK or <<-MARK at the end of a line");
  const [all, dash, mark] = opening;
  const lines: string[] = [];
  for (let at = start + all.length; at < text.length; ) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(at, end);
    if (line.trim() === mark) {
      const indent = line.slice(0, line.indexOf(mark));
      return { value: joinLines(lines, dash === "-" ? indent : ""), length: at + line.trimEnd().length - start };
    }
    lines.push(line);
    at = end + 1;
  }
  throw hclError(position, `heredoc not terminated; a line with ${mark} alone ends it`);
}

function joinLines(lines: readonly string[], indent: string): string {
  const indented = indent !== "" && lines.every((line) => line.startsWith(indent));
  return lines.map((line) => `${indented ? line.slice(indent.length) : line}\n`).join("");
}
