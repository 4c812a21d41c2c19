import { describe, expect, it } from "vitest";
import { matchesLabels, parseLabelSelector, SELECTOR_BYTES_MAX } from "./label-selector.ts";

const selects = async (text: string, labels: Readonly<Record<string, string>>) =>
  matchesLabels(await parseLabelSelector("selector", text), labels);

describe("a label selector", () => {
  it.each([
    ['{"matchLabels":{"team":"a"}}', true],
    ["matchLabels:\n  team: a\n", true],
    ["{matchLabels: {team: a}}", true],
    ['{"matchLabels":{"team":"a","env":"prod"}}', false],
    ['{"matchExpressions":[{"key":"team","operator":"In","values":["a","b"]}]}', true],
    ['{"matchExpressions":[{"key":"team","operator":"NotIn","values":["a"]}]}', false],
    ['{"matchExpressions":[{"key":"env","operator":"NotIn","values":["a"]}]}', true],
    ['{"matchExpressions":[{"key":"env","operator":"In","values":["a"]}]}', false],
    ['{"matchExpressions":[{"key":"team","operator":"Exists"}]}', true],
    ['{"matchExpressions":[{"key":"team","operator":"DoesNotExist"}]}', false],
    ['{"matchExpressions":[{"key":"env","operator":"DoesNotExist"}]}', true],
    ['{"matchLabels":{"team":"a"},"matchExpressions":[{"key":"env","operator":"Exists"}]}', false],
    ['{"matchLabels":{"constructor":"a"}}', false],
    ["{}", true],
  ])("%s", async (text, expected) => {
    expect(await selects(text, { team: "a" })).toBe(expected);
  });

  it.each([
    ["team=a", "is no selector"],
    ["[1]", "is no selector"],
    ["{", "is neither JSON nor YAML"],
    ['{"matchLabels":{"team":1}}', "selector.matchLabels.team must be a string"],
    ['{"matchLabel":{"team":"a"}}', 'has no member "matchLabel"'],
    ['{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}', "must be one of In, NotIn"],
    ['{"matchExpressions":[{"key":"a","operator":"In"}]}', 'In of "a" wants values'],
    ['{"matchExpressions":[{"key":"a","operator":"Exists","values":["1"]}]}', 'Exists of "a" wants no values'],
    [`{"matchLabels":{"team":"${"a".repeat(SELECTOR_BYTES_MAX)}"}}`, "is longer than"],
    ["a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]", "selector"],
  ])("is refused: %s", async (text, message) => {
    await expect(selects(text, {})).rejects.toMatchObject({
      ...{ code: "invalid_request", message: expect.stringContaining(message) },
    });
  });
});
