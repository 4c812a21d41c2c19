import { describe, expect, it } from "vitest";
import { hasFileKeyRef, readInjectorConfig } from "./config.ts";

const env = {
  COFFER_POD_NAMESPACE: "coffer-system",
  COFFER_IMAGE: "coffer/coffer:1",
  COFFER_WEBHOOK_NAME: "coffer-injector",
  COFFER_WEBHOOK_SERVICE: "coffer-injector",
  COFFER_CA_SECRET: "coffer-injector-ca",
};

describe("the injector's configuration", () => {
  it("has defaults for all that the chart need not say", () => {
    expect(readInjectorConfig(env)).toMatchObject({
      imagePullPolicy: "IfNotPresent",
      fileKeyRef: "auto",
      listen: { host: "", port: 9443 },
      health: { host: "", port: 8081 },
      logLevel: "info",
    });
  });

  it("reads what is said", () => {
    const more = { COFFER_FILE_KEY_REF: "true", COFFER_LISTEN_ADDRESS: "127.0.0.1:0", COFFER_LOG_LEVEL: "debug" };
    expect(readInjectorConfig({ ...env, ...more })).toMatchObject({
      fileKeyRef: true,
      listen: { host: "127.0.0.1", port: 0 },
      logLevel: "debug",
    });
  });

  it.each([
    ["COFFER_IMAGE", "", "COFFER_IMAGE is not set; the chart sets it"],
    ["COFFER_FILE_KEY_REF", "yes", "COFFER_FILE_KEY_REF must be one of auto, true, false"],
    ["COFFER_LISTEN_ADDRESS", "9443", "COFFER_LISTEN_ADDRESS must be written as HOST:PORT or :PORT"],
    ["COFFER_LISTEN_ADDRESS", ":65536", "COFFER_LISTEN_ADDRESS must be written as HOST:PORT or :PORT"],
  ])("%s=%j is refused", (name, value, sentence) => {
    expect(() => readInjectorConfig({ ...env, [name]: value })).toThrow(sentence);
  });

  it.each([
    ["1", "34", false],
    ["1", "34+", false],
    ["1", "35", true],
    ["1", "36+", true],
    ["2", "0", true],
    ["", "", false],
  ])("Kubernetes %s.%s: fileKeyRef %s", (major, minor, has) => {
    expect(hasFileKeyRef({ major, minor })).toBe(has);
  });
});
