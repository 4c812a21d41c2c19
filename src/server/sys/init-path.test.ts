// Initialisation by the API when a seal does not do its part.
import { expect, it } from "vitest";
import { startInProcessServer } from "#test/kit/in-process-server.ts";
import { type AutoSeal, SealError } from "../seal/seal.ts";

it("tells what keeps the seal from wrapping, and can be tried again", async () => {
  const trouble = { message: "seal hsm: the PIN is locked" };
  const broken = () => Promise.reject(new SealError("CredentialsInvalid", trouble.message, { transient: false }));
  const seal: AutoSeal = {
    ...{ kind: "auto", name: "hsm", type: "pkcs11", wrap: broken, unwrap: broken, probe: broken },
    close: async () => {},
  };
  const server = await startInProcessServer({ uninitialised: true, seals: [seal] });
  const init = () => server.call("update", "sys/init", { recovery_shares: 1, recovery_threshold: 1 }, { token: "" });
  expect(await init()).toMatchObject({ status: 503, error: "not initialised: seal hsm: the PIN is locked" });
  expect((await server.call("read", "sys/init", {}, { token: "" })).body).toEqual({ initialized: false });
  expect((await init()).status).toBe(503);
});
