// A server with the engine of outside-engine.ts, as a program: `outside-server.ts <configuration> <folder of the world>`.
// What it does outside has short claims, so that tests see them pass on, and what was undone without a word from its
// maker is undone again soon: later than any pause of these tests.
import { outsideEngine } from "./outside-engine.ts";
import { serveWith } from "./server-program.ts";

const CLAIM_SECONDS = 3;
const CONFIRM_SECONDS = 12;

const [, , file = "", folder = ""] = process.argv;
await serveWith(file, () => ({
  ...{ engines: [outsideEngine(folder)], claimSeconds: CLAIM_SECONDS, confirmSeconds: CONFIRM_SECONDS },
}));
