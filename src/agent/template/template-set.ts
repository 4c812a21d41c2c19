// The templates of an agent. In two phases, as consul-template does it: evaluate with what is known, and note what is
// asked for and not known; the agent fetches it; again, until nothing new is asked for. Then the files are rendered.
import { createHmac, randomBytes } from "node:crypto";
import type { AgentConfig } from "#common/agent-config.ts";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { FileConfig } from "../config.ts";
import type { Reading, SourceResult, SourceResults } from "../sources.ts";
import { Fault } from "./fault.ts";
import type { SecretRequest, TemplateHost } from "./function.ts";
import { readRequest } from "./read-request.ts";
import { secretValue } from "./secret-value.ts";
import { compileTemplate, type Template } from "./template.ts";
import { fromJson, keepDigits, type Value } from "./values.ts";

/** A secret may say where the next one is, but not endlessly. */
export const ROUNDS_MAX = 16;
/** What one template may ask for; a SecretBinding has 32 sources at most. */
export const REQUESTS_MAX = 64;

export interface NamedRequest {
  /** Its name among the sources, and in messages; without values of parameters, which may be secret. */
  readonly name: string;
  readonly request: SecretRequest;
}

export interface TemplateSet {
  /** Calls `fetch` for all that the templates ask for; it adds to `results`. */
  gather(results: SourceResults, fetch: (wanted: NamedRequest) => Promise<void>): Promise<void>;
  /** The file's content, or undefined while a secret is not there. Throws `invalid_request` naming line and column. */
  render(file: FileConfig, results: SourceResults): Buffer | undefined;
  /** Asks the server for what a template wants. */
  read(request: SecretRequest, reading: Reading, signal: AbortSignal): Promise<SourceResult>;
}

/** Of the keyed hash in the names of requests. */
export const NAME_KEY_BYTES = 32;

/**
 * Compiles all templates. `nameKey` keeps the names of requests the same over a restart. Throws `invalid_request` naming
 * file, line and column.
 */
export function createTemplateSet(
  config: AgentConfig,
  variables: Readonly<Record<string, string>>,
  clock: Clock,
  nameKey: Buffer = randomBytes(NAME_KEY_BYTES),
): TemplateSet {
  const files = new Map(config.files.filter(isTemplate).map((file) => [file, compileFile(file)] as const));
  const nameOf = requestNames(nameKey);
  const run = (file: FileConfig, results: SourceResults): Outcome => {
    const template = files.get(file);
    if (template === undefined) throw new CofferError("invalid_request", `the file ${file.path} has no template`);
    return evaluateFile(template, { config, file, results, nameOf, variables, clock });
  };
  return {
    async gather(results, fetch) {
      for (let round = 0; round < ROUNDS_MAX; round++) {
        const wanted = [...files.keys()].flatMap((file) => run(file, results).wanted);
        const fresh = wanted.filter(({ name }, i) => wanted.findIndex((other) => other.name === name) === i);
        if (fresh.length === 0) return;
        for (const request of fresh) await fetch(request);
      }
    },
    render(file, results) {
      const { wanted, lacks, error, content } = run(file, results);
      const [first] = wanted;
      if (error !== undefined && first === undefined && !lacks) throw error;
      if (first !== undefined)
        throw new CofferError(
          "invalid_request",
          `${first.name} is asked for too late: secrets that name others go ${ROUNDS_MAX} rounds deep at most`,
        );
      return lacks ? undefined : content;
    },
    read: readRequest,
  };
}

function isTemplate(file: FileConfig): boolean {
  return file.format === "Template";
}

function compileFile({ path, template }: FileConfig): Template {
  const { text = "", leftDelimiter, rightDelimiter } = template ?? {};
  return compileTemplate({ name: lastPart(path), text, leftDelimiter, rightDelimiter });
}

/** The last part, which is what the writer of the template knows. */
function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

const FUNCTIONS = { read: "secret", write: "secret", list: "secrets", certificate: "pkiCert" } as const;
const NAME_HEX = 12;

/** Names requests; those that differ in parameters only get a keyed hash of them, since parameters may be secret. */
function requestNames(key: Buffer): (request: SecretRequest) => string {
  return ({ verb, path, parameters }) => {
    const name = `${FUNCTIONS[verb]} ${JSON.stringify(path)}`;
    if (parameters.size === 0) return name;
    const sorted = JSON.stringify([...parameters].sort(([a], [b]) => (a < b ? -1 : 1)));
    return `${name} #${createHmac("sha256", key).update(sorted).digest("hex").slice(0, NAME_HEX)}`;
  };
}

interface Given {
  readonly config: AgentConfig;
  readonly file: FileConfig;
  readonly results: SourceResults;
  readonly nameOf: (request: SecretRequest) => string;
  readonly variables: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

interface Outcome {
  readonly wanted: readonly NamedRequest[];
  /** A secret could not be read, which is told elsewhere. */
  readonly lacks: boolean;
  readonly error?: CofferError;
  readonly content?: Buffer;
}

function evaluateFile(template: Template, given: Given): Outcome {
  const { file, results } = given;
  const wanted: NamedRequest[] = [];
  const asked = new Set<string>();
  let lacks = false;
  const answer = (result: SourceResult, value: () => Value): Value => {
    if (result.kind === "data") return value();
    lacks = true;
    return null;
  };
  const host: TemplateHost = {
    secret(request) {
      const name = given.nameOf(request);
      asked.add(name);
      if (asked.size > REQUESTS_MAX) throw new Fault(`a template asks for more than ${REQUESTS_MAX} secrets`);
      const result = results.get(name) ?? sharedSource(request, given);
      if (result !== undefined) return answer(result, () => secretValue(request, result));
      wanted.push({ name, request });
      return null;
    },
    source(local) {
      const result = results.get(file.template?.sources[local] ?? local);
      if (result === undefined) throw new Fault(`there is no source of that name: name one of spec.sources`);
      if (result.kind === "missing" && isOptional(given, local)) return null;
      return answer(result, () => dataOf(result));
    },
    environment: (name) => (Object.hasOwn(given.variables, name) ? (given.variables[name] ?? "") : ""),
    now: () => given.clock.now(),
  };
  const data = dataOf(results.get(file.source));
  const errorOnMissingKey = file.template?.errorOnMissingKey ?? false;
  try {
    const content = template.render({ host, data, errorOnMissingKey });
    return { wanted, lacks, content };
  } catch (error) {
    if (error instanceof CofferError) return { wanted, lacks, error };
    throw error;
  }
}

/** A leased credential that is a source too is the same one: two files must not have two users. */
function sharedSource({ verb, path, parameters }: SecretRequest, { config, results }: Given): SourceResult | undefined {
  if (verb !== "read" || parameters.size > 0) return undefined;
  const source = config.sources.find((candidate) => candidate.path === path && candidate.version === 0);
  const result = source && results.get(source.name);
  return result?.kind === "data" && result.lease !== undefined ? result : undefined;
}

function isOptional({ config, file }: Given, local: string): boolean {
  const name = file.template?.sources[local] ?? local;
  return config.sources.some((source) => source.name === name && source.optional);
}

function dataOf(result: SourceResult | undefined): Value {
  return result?.kind === "data" ? fromJson(result.data, keepDigits) : null;
}
