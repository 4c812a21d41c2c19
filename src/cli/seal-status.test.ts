// The table of `coffer status`.
import { expect, it } from "vitest";
import { sealStatusTable } from "./seal-status.ts";

it("says why a server is sealed, and what else would open it", () => {
  const message = "KMS key alias/root is disabled: enable it";
  const shown = sealStatusTable({
    ...{ type: "awskms", initialized: true, sealed: true, n: 0, t: 0, emergency: { n: 5, t: 3 }, fips: true },
    seal_troubles: [{ seal: "frankfurt", reason: "KeyDisabled", message, since: "2026-11-25T08:00:00Z" }],
  });
  expect(shown).toMatch(/^Seal frankfurt +KeyDisabled: KMS key alias\/root is disabled: enable it$/m);
  expect(shown).toMatch(/^Emergency Set +3 of 5 shares$/m);
  expect(shown).toMatch(/^FIPS Mode +true$/m);
});

it("has no such rows when all is well", () => {
  const shown = sealStatusTable({ type: "shamir", initialized: true, sealed: false, n: 5, t: 3 });
  expect(shown).not.toMatch(/Emergency|FIPS|^Seal (?!Type)/m);
});
