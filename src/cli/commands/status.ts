// `coffer status`: exit code 0 unsealed, 2 sealed, 1 for an error, as scripts around Vault expect.
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { defineCommand } from "../command.ts";
import { nextStep } from "../hints.ts";
import { sealStatusTable } from "../seal-status.ts";

export const status = defineCommand({
  name: "status",
  summary: "Tells whether the server is initialised and sealed (exit code 0 unsealed, 2 sealed, 1 error).",
  usage: "",
  args: [0, 0],
  async run({ client, print, io }) {
    try {
      // A sealed server answers at once; repeating would only delay the news.
      const answer = await client.read("sys/seal-status", { retries: 0 });
      const data: JsonObject = answer.data ?? {};
      await print.answer(answer, { data, table: () => sealStatusTable(data) });
      return data["sealed"] === false ? 0 : 2;
    } catch (error) {
      io.stderr.write(`Error: ${messageOf(error)}\n`);
      const hint = nextStep(error);
      if (hint !== undefined) io.stderr.write(`${hint}\n`);
      return 1;
    }
  },
});
