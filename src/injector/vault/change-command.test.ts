import { describe, expect, it } from "vitest";
import { signalOfCommand } from "./change-command.ts";

describe("commands on change", () => {
  it.each<[string, string, string]>([
    ["kill -HUP $(pidof nginx)", "SIGHUP", "nginx"],
    ["kill -s HUP $(pidof -s nginx)", "SIGHUP", "nginx"],
    ["/bin/kill -SIGTERM `pidof java`", "SIGTERM", "java"],
    ["kill $(pgrep -x envoy) || true", "SIGTERM", "envoy"],
    ["kill -10 $( pidof my-app )", "SIGUSR1", "my-app"],
    ["pkill -USR2 gunicorn", "SIGUSR2", "gunicorn"],
    ["pkill --signal HUP -x app", "SIGHUP", "app"],
    ["killall -hup app 2>/dev/null", "SIGHUP", "app"],
    ["sh -c 'kill -HUP $(pidof vault-app)'", "SIGHUP", "vault-app"],
    ['/bin/sh -c "pkill -HUP app"', "SIGHUP", "app"],
    ["sh -c 'kill -INT $(pidof app) || true'", "SIGINT", "app"],
  ])("%s", (command, signal, process) => {
    expect(signalOfCommand(command)).toEqual({ signal, process });
  });

  it.each([
    "touch /tmp/reload",
    "kill -HUP 1",
    "kill -HUP $(cat /run/app.pid)",
    "pkill -BOGUS app",
    "kill -HUP $(pidof a) && rm -rf /",
    "pkill -HUP a; pkill -HUP b",
    "sh -c 'sh -c",
    "",
  ])("does not take %j for a signal", (command) => {
    expect(signalOfCommand(command)).toBeUndefined();
  });
});
