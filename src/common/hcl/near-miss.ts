// "Did you mean …?": the known word nearest to a mistyped one.

/** More changes than this and a word is another word. */
const CHANGES_MAX = 2;

/** `; did you mean "x"? Known: …` for a message's end. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = known
    .map((each) => ({ each, changes: distance(word.toLowerCase(), each) }))
    .filter(({ changes }) => changes <= CHANGES_MAX)
    .sort((a, b) => a.changes - b.changes)[0];
  const hint = near ? `; did you mean ${JSON.stringify(near.each)}?` : ";";
  return `${hint} known: ${[...known].sort().join(", ")}`;
}

/** Letters to add, drop or change to get from one to the other (Levenshtein). Words longer than 64 are far away. */
function distance(a: string, b: string): number {
  if (a.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (letter === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
