// sys/pprof: profiles of this process. Vault's names where Node has the thing, in V8's forms; what only Go has is refused
// with the reason. The profiles themselves: core/profiler.ts.
import { CofferError } from "#common/errors.ts";
import { Profiler } from "../core/profiler.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import type { SysServices } from "./services.ts";

const CPU_SECONDS_DEFAULT = 30;
const HEAP_SECONDS_DEFAULT = 5;

/** What `vault debug` asks for and a Node process has not. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ["block", "nothing blocks on a lock: JavaScript runs in one thread; see sys/pprof/profile"],
  ["goroutine", "there are no goroutines; requests under way are at sys/in-flight-req"],
  ["mutex", "there are no mutexes; see sys/pprof/profile"],
  ["symbol", "profiles name functions themselves; there are no addresses to look up"],
  ["threadcreate", "threads are the runtime's own and fixed in number"],
  ["trace", "there is no execution trace; see sys/pprof/profile"],
]);

export function pprofPaths({ clock, commandLine }: Pick<SysServices, "clock" | "commandLine">) {
  const profiler = new Profiler(clock);
  return [
    definePrivilegedPath("pprof", {
      summary: "Which profiles there are.",
      access: "sudo",
      operations: { read: { summary: "Name them.", handler: () => text(`${Object.keys(SHOWN).join("\n")}\n`) } },
    }),
    definePrivilegedPath("pprof/cmdline", {
      summary: SHOWN.cmdline,
      access: "sudo",
      operations: { read: { summary: "Show it.", handler: () => text(commandLine.join("\0")) } },
    }),
    definePrivilegedPath("pprof/profile", {
      summary: SHOWN.profile,
      access: "sudo",
      fields: { seconds: withDefault(field.integer("How long to look, 1 to 60."), CPU_SECONDS_DEFAULT) },
      operations: {
        read: {
          summary: "Take it.",
          handler: async (_context, { seconds }) => file("coffer.cpuprofile", await profiler.cpu(seconds)),
        },
      },
    }),
    ...(["heap", "allocs"] as const).map((name) =>
      definePrivilegedPath(`pprof/${name}`, {
        summary: SHOWN[name],
        access: "sudo",
        fields: { seconds: withDefault(field.integer("How long to look, 1 to 60."), HEAP_SECONDS_DEFAULT) },
        operations: {
          read: {
            summary: "Take it.",
            handler: async (_context, { seconds }) => {
              const profile = await profiler.allocations(seconds, name === "heap" ? "live" : "all");
              return file(`coffer-${name}.heapprofile`, profile);
            },
          },
        },
      }),
    ),
    definePrivilegedPath("pprof/:profile", {
      summary: "Profiles of Go that a Node process has not: refused, with the reason.",
      access: "sudo",
      operations: { read: { summary: "The reason.", handler: (_context, { profile }) => refuse(profile) } },
    }),
  ];
}

const SHOWN = {
  allocs: "What was allocated while one looked, by function; for Chrome's DevTools (.heapprofile).",
  cmdline: "The command line, without what could be secret in it.",
  heap: "What was allocated while one looked and is still used, by function (.heapprofile).",
  profile: "Where processor time goes, by function; for Chrome's DevTools (.cpuprofile).",
} as const;

function refuse(profile: string): never {
  const reason = REFUSED.get(profile) ?? "there is no such profile";
  throw new CofferError("unsupported_path", `sys/pprof/${profile}: ${reason}`);
}

function text(body: string): Reply {
  return { raw: { contentType: "text/plain; charset=utf-8", body } };
}

function file(name: string, body: string): Reply {
  return {
    raw: { contentType: "application/json", body },
    headers: { "Content-Disposition": `attachment; filename="${name}"` },
  };
}
