// Commands that vault-k8s runs when a file has changed. Coffer's image has no shell and no programs, so the one thing that
// such commands do in practice is understood instead of run: a signal to a process by its name.
export interface ChangeSignal {
  /** "SIGHUP". */
  readonly signal: string;
  readonly process: string;
}

const SHELL = /^(?:\/bin\/|\/usr\/bin\/)?(?:ba|da|a)?sh\s+-c\s+(?<quote>['"])(?<inner>.*)\k<quote>$/;
const SIGNAL = String.raw`(?:-(?:s\s+|-signal[= ]|n\s+)?(?<signal>[A-Za-z0-9]+)\s+)?`;
const PROGRAM = "(?:/bin/|/usr/bin/)?";
const NAME = "(?<name>[A-Za-z0-9._+-]+)";
const LOOKUP = String.raw`(?:pidof|pgrep)\s+(?:-(?:s|x|o|n)\s+)*`;
const FORMS = [
  new RegExp(`^${PROGRAM}kill\\s+${SIGNAL}\\$\\(\\s*${LOOKUP}${NAME}\\s*\\)$`),
  new RegExp(`^${PROGRAM}kill\\s+${SIGNAL}\`\\s*${LOOKUP}${NAME}\\s*\`$`),
  new RegExp(`^${PROGRAM}(?:pkill|killall)\\s+${SIGNAL}(?:-x\\s+)?${NAME}$`),
];
/** What an application can be told by; others end it, and then the kubelet starts it anew, which some want. */
const SIGNALS: Readonly<Record<string, string>> = {
  "1": "SIGHUP",
  "2": "SIGINT",
  "3": "SIGQUIT",
  "9": "SIGKILL",
  "10": "SIGUSR1",
  "12": "SIGUSR2",
  "15": "SIGTERM",
  "28": "SIGWINCH",
};
const SIGNAL_NAMES = new Set(Object.values(SIGNALS));

/** The signal that a command sends, or undefined when it does anything else. */
export function signalOfCommand(command: string): ChangeSignal | undefined {
  const line = command.trim().replace(/\s*(?:\|\|\s*true|2>\s*\/dev\/null)\s*$/, "");
  const inner = SHELL.exec(line)?.groups?.["inner"];
  if (inner !== undefined) return signalOfCommand(inner);
  for (const form of FORMS) {
    const found = form.exec(line)?.groups;
    const signal = signalName(found?.["signal"]);
    if (found?.["name"] !== undefined && signal !== undefined) return { signal, process: found["name"] };
  }
  return undefined;
}

/** kill without a signal sends SIGTERM. */
function signalName(given = "TERM"): string | undefined {
  const upper = given.toUpperCase();
  const name = SIGNALS[upper] ?? (upper.startsWith("SIG") ? upper : `SIG${upper}`);
  return SIGNAL_NAMES.has(name) ? name : undefined;
}
