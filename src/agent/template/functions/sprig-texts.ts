// The functions of Sprig on texts that manifests use (masterminds.github.io/sprig), here with the prefix that
// consul-template gives them.
import { bytesOfText } from "../byte-text.ts";
import { Fault } from "../fault.ts";
import { any, type Functions, integer, list, takes, takesMany, text } from "../function.ts";
import { quoteGo } from "../printf.ts";
import { textOfValue } from "../printing.ts";
import { containsMatch, replaceMatches } from "../regex.ts";
import type { Value } from "../values.ts";
import { decodeBase64 } from "./encodings.ts";
import { digest, replaceText, titled, trimSet, withoutPrefix, withoutSuffix } from "./texts.ts";

const present = (values: readonly Value[]) => values.filter((value) => value !== null);

export const sprigTexts: Functions = {
  sprig_quote: takesMany(0, any, (args) =>
    present(args)
      .map((arg) => quoteGo(textOfValue(arg)))
      .join(" "),
  ),
  sprig_squote: takesMany(0, any, (args) =>
    present(args)
      .map((arg) => `'${textOfValue(arg)}'`)
      .join(" "),
  ),
  sprig_cat: takesMany(0, any, (args) => present(args).map(textOfValue).join(" ")),
  sprig_toString: takes([any], ([value]) => (value === null ? "<nil>" : textOfValue(value))),
  sprig_upper: takes([text], ([value]) => value.toUpperCase()),
  sprig_lower: takes([text], ([value]) => value.toLowerCase()),
  sprig_title: takes([text], ([value]) => titled(value)),
  sprig_trim: takes([text], ([value]) => value.trim()),
  sprig_trimAll: takes([text, text], ([set, value]) => trimSet(value, set, true, true)),
  sprig_trimPrefix: takes([text, text], ([prefix, value]) => withoutPrefix(value, prefix)),
  sprig_trimSuffix: takes([text, text], ([suffix, value]) => withoutSuffix(value, suffix)),
  sprig_nospace: takes([text], ([value]) => value.replace(/\s+/g, "")),
  sprig_trunc: takes([integer, text], ([length, value]) => truncated(value, length)),
  sprig_substr: takes([integer, integer, text], ([from, to, value]) =>
    value.slice(Math.max(from, 0), to < 0 ? undefined : to),
  ),
  sprig_contains: takes([text, text], ([part, value]) => value.includes(part)),
  sprig_hasPrefix: takes([text, text], ([part, value]) => value.startsWith(part)),
  sprig_hasSuffix: takes([text, text], ([part, value]) => value.endsWith(part)),
  sprig_replace: takes([text, text, text], ([from, to, value], { budget }) => replaceText(value, from, to, budget)),
  sprig_repeat: takes([integer, text], ([count, value], { budget }) => {
    if (count < 0) throw new Fault("wants a number that is not negative");
    budget.produce(count * value.length);
    return value.repeat(value === "" ? 0 : count);
  }),
  sprig_indent: takes([integer, text], ([spaces, value], { budget }) =>
    everyLine(value, spaces, budget.produce.bind(budget)),
  ),
  sprig_nindent: takes([integer, text], ([spaces, value], { budget }) => {
    return `\n${everyLine(value, spaces, budget.produce.bind(budget))}`;
  }),
  sprig_splitList: takes([text, text], ([separator, value]) =>
    separator === "" ? [...value] : value.split(separator),
  ),
  sprig_join: takes([text, any], ([separator, items], { budget }) => {
    const parts = (Array.isArray(items) ? list(items) : [items]).filter((item) => item !== null).map(textOfValue);
    budget.produce(parts.length * separator.length);
    return parts.join(separator);
  }),
  sprig_b64enc: takes([text], ([value]) => bytesOfText(value).toString("base64")),
  sprig_b64dec: takes([text], ([value]) => decodeBase64(value)),
  sprig_sha256sum: takes([text], ([value]) => digest("sha256", value)),
  sprig_sha1sum: takes([text], ([value]) => digest("sha1", value)),
  sprig_regexMatch: takes([text, text], ([pattern, value], { budget }) => containsMatch(pattern, value, budget)),
  sprig_regexReplaceAll: takes([text, text, text], ([pattern, value, to], { budget }) => {
    return replaceMatches(pattern, to, value, budget);
  }),
};

/** From the beginning, or with a negative length from the end; in bytes, as Go. */
function truncated(value: string, length: number): string {
  const bytes = bytesOfText(value);
  if (length < 0 && bytes.length + length > 0) return bytes.subarray(bytes.length + length).toString("utf8");
  return length >= 0 && bytes.length > length ? bytes.subarray(0, length).toString("utf8") : value;
}

function everyLine(value: string, spaces: number, produce: (size: number) => void): string {
  if (spaces < 0) throw new Fault("wants a number of spaces that is not negative");
  const lines = value.split("\n");
  produce(lines.length * spaces + value.length);
  const pad = " ".repeat(spaces);
  return lines.map((line) => pad + line).join("\n");
}
