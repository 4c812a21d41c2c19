// From what the sources gave to files on disk. A target whose source cannot be read keeps the content it has; nothing is
// written half. It decides what blocks a pod's start and what only deserves a line in the log.
import { rm } from "node:fs/promises";
import type { AgentConfig } from "#common/agent-config.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { type EnvironmentConfig, type FileConfig, fileMode } from "./config.ts";
import { renderEnvironment } from "./environment-file.ts";
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
  /** Signals that changed files ask for, each once. Not those of files that were written for the first time. */
  readonly signals: readonly ChangeSignal[];
}

export type ChangeSignal = NonNullable<FileConfig["onChange"]>;

export interface Delivery {
  /** Writes what can be written. Never rejects. */
  deliver(results: SourceResults): Promise<DeliveryReport>;
}

/** A delivery of one configuration; it remembers which sources once had data and which files of keys it wrote. */
export function createDelivery(config: AgentConfig, templates?: TemplateSet): Delivery {
  const hadData = new Set<string>();
  const keyFiles = new Map<FileConfig, ReadonlySet<string>>();
  const delivered = new Set<FileConfig>();
  return {
    async deliver(results) {
      const problems = sourceProblems(config, results, hadData);
      const report = { written: [] as string[], unchanged: 0, problems, signals: [] as ChangeSignal[] };
      const target = async (path: string, sources: readonly string[], write: () => Promise<void>) => {
        if (sources.some((name) => mustKeep(config, name, results.get(name), hadData))) return;
        try {
          await write();
        } catch (error) {
          report.problems.push({ subject: path, reason: describe(error), isBlocking: true });
        }
      };
      const there = new Set<string>();
      const put: Put = async (path, content, mode) => {
        if (await writeFileAtomically(path, content, mode)) report.written.push(path);
        else report.unchanged++;
        there.add(path);
      };
      for (const file of config.files) {
        const before = report.written.length;
        const isTemplate = file.format === "Template";
        const sources = isTemplate && file.source === "" ? [] : [file.source];
        await target(file.path, sources, () =>
          isTemplate ? deliverTemplate(file, results, templates, put) : deliverFile(file, results, keyFiles, put),
        );
        if (delivered.has(file) && report.written.length > before) addSignal(report.signals, file.onChange);
        if (isTemplate ? there.has(file.path) : results.get(file.source)?.kind === "data") delivered.add(file);
      }
      for (const environment of config.environments) {
        await target(environment.path, sourcesOf(environment), () =>
          put(environment.path, renderEnvironment(environment, results), ENVIRONMENT_MODE),
        );
      }
      for (const [name, result] of results) if (result.kind === "data") hadData.add(name);
      return report;
    },
  };
}

function addSignal(signals: ChangeSignal[], wanted: ChangeSignal | undefined): void {
  if (wanted === undefined) return;
  if (signals.some(({ signal, process }) => signal === wanted.signal && process === wanted.process)) return;
  signals.push(wanted);
}

type Put = (path: string, content: string | Buffer, mode: number) => Promise<void>;

async function deliverFile(
  file: FileConfig,
  results: SourceResults,
  keyFiles: Map<FileConfig, ReadonlySet<string>>,
  put: Put,
): Promise<void> {
  const result = results.get(file.source);
  if (result?.kind !== "data") return;
  const rendered: readonly RenderedFile[] = await renderFile(file, result.data);
  for (const { path, content } of rendered) await put(path, content, fileMode(file.mode));
  // Keys that are gone from the secret take their files with them; other files of the folder are not ours.
  const paths = new Set(rendered.map(({ path }) => path));
  for (const path of keyFiles.get(file) ?? []) if (!paths.has(path)) await rm(path, { force: true });
  keyFiles.set(file, paths);
}

/** A template that lacks a secret leaves the file as it is; the secret is a problem of its own. */
async function deliverTemplate(
  file: FileConfig,
  results: SourceResults,
  templates: TemplateSet | undefined,
  put: Put,
): Promise<void> {
  const content = templates?.render(file, results);
  if (content !== undefined) await put(file.path, content, fileMode(file.mode));
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
