// Markdown as the generators write it: a note that a page is made, and tables whose cells cannot break them.
export type Row = readonly string[];

/** The first lines of a page: where it comes from, and its title. */
export function pageHead(title: string, source: string): string {
  return `<!-- Made by \`npm run generate\` from ${source}; edit it there. -->\n# ${title}\n\n`;
}

/** A table with its heads; ends with a newline. */
export function table(heads: Row, rows: readonly Row[]): string {
  const line = (cells: Row) => `| ${cells.map((c) => c.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |\n`;
  return line(heads) + line(heads.map(() => "---")) + rows.map(line).join("");
}
