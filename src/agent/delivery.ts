// From what the sources gave to files on disk. A target whose source cannot be read keeps the content it has; nothing is
// written half. It decides what blocks a pod's start and what only deserves a line in the log.
import { rm } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { AgentConfig, ChangeHook } from "#common/agent-config.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type EnvironmentConfig, type FileConfig, fileMode } from "./config.ts";
import { renderEnvironment } from "./environment-file.ts";
import type { DueHook } from "./hooks/change-hooks.ts";
import { type RenderedFile, renderFile } from "./render.ts";
import type { SourceResult, SourceResults } from "./sources.ts";
import type { TemplateSet } from "./template/template-set.ts";
import { writeFileAtomically } from "./write-file.ts";

/** Kubelet reads FileKeyRef files as root, and the helper runs as the workload's user, who shares the pod's group. */
const ENVIRONMENT_MODE = 0o440;

export interface Problem {
  /** The source or the target it is about. */
  readonly subject: string;
  readonly reason: string;
  /** A pod must not start without this. */
  readonly isBlocking: boolean;
}

export interface DeliveryReport {
  readonly written: readonly string[];
  readonly unchanged: number;
  readonly problems: readonly Problem[];
  /** What changed files ask for, each once. Not what files ask for that were written for the first time. */
  readonly hooks: readonly DueHook[];
  /** Files that were removed because they could not be refreshed for too long. */
  readonly removed: readonly string[];
}

export interface Delivery {
  /** Writes what can be written. Never rejects. */
  deliver(results: SourceResults): Promise<DeliveryReport>;
}

/** Puts the content of a configured file where it belongs; tells whether it differs from before. */
export type FileWriter = (file: FileConfig, path: string, content: string | Buffer) => Promise<boolean>;

export interface DeliveryOptions {
  readonly templates?: TemplateSet | undefined;
  readonly clock: Clock;
  /** On the disk, unless told otherwise. */
  readonly write?: FileWriter | undefined;
}

/** A delivery of one configuration; it remembers which sources once had data and which files of keys it wrote. */
export function createDelivery(
  config: AgentConfig,
  { templates, clock, write = writeToDisk }: DeliveryOptions,
): Delivery {
  const freshness = new Freshness(config, clock);
  const hadData = new Set<string>();
  const keyFiles = new Map<FileConfig, ReadonlySet<string>>();
  const delivered = new Set<FileConfig>();
  return {
    async deliver(results) {
      const problems = sourceProblems(config, results, hadData);
      const hooks: { hook: ChangeHook; paths: string[] }[] = [];
      const report = { written: [] as string[], unchanged: 0, problems, hooks, removed: [] as string[] };
      const target = async (path: string, sources: readonly string[], write: () => Promise<void>) => {
        if (sources.some((name) => mustKeep(config, name, results.get(name), hadData))) return;
        try {
          await write();
        } catch (error) {
          report.problems.push({ subject: path, reason: describe(error), isBlocking: true });
        }
      };
      const there = new Set<string>();
      const note = (path: string, isNew: boolean) => {
        if (isNew) report.written.push(path);
        else report.unchanged++;
        there.add(path);
      };
      const put: Put = async (file, path, content) => note(path, await write(file, path, content));
      for (const file of config.files) {
        const before = report.written.length;
        const isTemplate = file.format === "Template";
        const sources = isTemplate && file.source === "" ? [] : [file.source];
        await target(file.path, sources, () =>
          isTemplate ? deliverTemplate(file, results, templates, put) : deliverFile(file, results, keyFiles, put),
        );
        if (delivered.has(file)) addHook(hooks, file.onChange, report.written.slice(before));
        const isFresh = isTemplate ? there.has(file.path) : isGood(results.get(file.source), config, file.source);
        if (isTemplate ? isFresh : results.get(file.source)?.kind === "data") delivered.add(file);
        if (freshness.isStale(file.path, isFresh)) {
          for (const path of keyFiles.get(file) ?? [file.path]) await withdraw(path, report);
        }
      }
      for (const environment of config.environments) {
        await target(environment.path, sourcesOf(environment), () =>
          writeFileAtomically(environment.path, renderEnvironment(environment, results), ENVIRONMENT_MODE).then(
            (isNew) => note(environment.path, isNew),
          ),
        );
        if (freshness.isStale(environment.path, there.has(environment.path))) await withdraw(environment.path, report);
      }
      for (const [name, result] of results) if (result.kind === "data") hadData.add(name);
      return report;
    },
  };
}

function addHook(hooks: { hook: ChangeHook; paths: string[] }[], hook: ChangeHook | undefined, paths: string[]): void {
  if (hook === undefined || paths.length === 0) return;
  const same = hooks.find((due) => isDeepStrictEqual(due.hook, hook));
  if (same === undefined) hooks.push({ hook, paths });
  else same.paths.push(...paths);
}

/** Whether a target of this source is as it should be, which an optional one that is absent is too. */
function isGood(result: SourceResult | undefined, config: AgentConfig, name: string): boolean {
  return result !== undefined && (result.kind === "data" || !isBlocking(config, name, result));
}

/** Since when each target could not be refreshed. */
class Freshness {
  readonly #maxStaleMillis: Millis;
  readonly #clock: Clock;
  readonly #start: Millis;
  readonly #freshAt = new Map<string, Millis>();
  constructor({ maxStaleSeconds = Number.POSITIVE_INFINITY }: AgentConfig, clock: Clock) {
    this.#maxStaleMillis = maxStaleSeconds * 1000;
    this.#clock = clock;
    this.#start = clock.now();
  }

  /** Told what became of it in this round. */
  isStale(path: string, isFresh: boolean): boolean {
    const now = this.#clock.now();
    if (isFresh) this.#freshAt.set(path, now);
    // What an agent of before has left there is as old as this agent at least.
    return now - (this.#freshAt.get(path) ?? this.#start) > this.#maxStaleMillis;
  }
}

async function withdraw(path: string, report: { removed: string[]; problems: Problem[] }): Promise<void> {
  // What is no file, such as a variable of a process, cannot be taken back.
  if (!isAbsolute(path)) return;
  await rm(path, { force: true });
  report.removed.push(path);
  const reason = "it could not be refreshed for longer than maxStale and was removed";
  report.problems.push({ subject: path, reason, isBlocking: true });
}

/** As the file's settings say. */
export function writeToDisk(file: FileConfig, path: string, content: string | Buffer): Promise<boolean> {
  return writeFileAtomically(path, content, fileMode(file.mode), file);
}

type Put = (file: FileConfig, path: string, content: string | Buffer) => Promise<void>;

async function deliverFile(
  file: FileConfig,
  results: SourceResults,
  keyFiles: Map<FileConfig, ReadonlySet<string>>,
  put: Put,
): Promise<void> {
  const result = results.get(file.source);
  if (result?.kind !== "data") return;
  const rendered: readonly RenderedFile[] = await renderFile(file, result.data, passwordDataOf(file, results));
  for (const { path, content } of rendered) await put(file, path, content);
  // Keys that are gone from the secret take their files with them; other files of the folder are not ours.
  const paths = new Set(rendered.map(({ path }) => path));
  for (const path of keyFiles.get(file) ?? []) if (!paths.has(path)) await rm(path, { force: true });
  keyFiles.set(file, paths);
}

function passwordDataOf({ keystore }: FileConfig, results: SourceResults): JsonObject | undefined {
  const result = results.get(keystore?.password.source ?? "");
  return result?.kind === "data" ? result.data : undefined;
}

/** A template that lacks a secret leaves the file as it is; the secret is a problem of its own. */
async function deliverTemplate(
  file: FileConfig,
  results: SourceResults,
  templates: TemplateSet | undefined,
  put: Put,
): Promise<void> {
  const content = templates?.render(file, results);
  if (content !== undefined) await put(file, file.path, content);
}

function sourcesOf(environment: EnvironmentConfig): readonly string[] {
  return environment.variables.map(({ source }) => source);
}

/** Whether targets of this source stay as they are: it has no data now, and that is not simply its (optional) absence. */
function mustKeep(
  config: AgentConfig,
  name: string,
  result: SourceResult | undefined,
  hadData: ReadonlySet<string>,
): boolean {
  if (result === undefined || result.kind === "data") return result === undefined;
  return hadData.has(name) || isBlocking(config, name, result);
}

function isBlocking(config: AgentConfig, name: string, result: SourceResult): boolean {
  const isOptional = config.sources.some((source) => source.name === name && source.optional);
  return result.kind !== "data" && (!isOptional || result.kind === "unavailable");
}

function sourceProblems(config: AgentConfig, results: SourceResults, hadData: ReadonlySet<string>): Problem[] {
  const problems: Problem[] = [];
  for (const [subject, result] of results) {
    if (result.kind === "data") continue;
    const kept = hadData.has(subject) ? "; the last content is kept" : "";
    problems.push({ subject, reason: result.reason + kept, isBlocking: isBlocking(config, subject, result) });
  }
  return problems;
}

function describe(error: unknown): string {
  return error instanceof CofferError ? error.message : `cannot be written: ${messageOf(error)}`;
}
