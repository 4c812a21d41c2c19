// Faults that a test switches on: throttling, errors of the service, slowness, silence and absence.
import { AwsError } from "./aws-error.ts";

/** Which requests a counted fault hits. */
export interface FaultScope {
  /** Such as "Encrypt"; any operation when absent. */
  readonly operation?: string | undefined;
}

interface Counted extends FaultScope {
  remaining: number;
  readonly error: () => AwsError;
}

export class Faults {
  /** Each request waits that long before it is looked at. */
  latencyMillis = 0;
  /** Connections are cut without an answer, as by a service that is gone. */
  down = false;
  /** Requests are read and never answered, as by a network that swallows packets. */
  hang = false;
  #counted: Counted[] = [];

  goDown(): void {
    this.down = true;
  }

  /** The next `count` requests are throttled. */
  throttle(count: number, scope: FaultScope = {}): void {
    const error = () => new AwsError("ThrottlingException", "Rate exceeded", 400);
    this.#add({ remaining: count, error, ...scope });
  }

  /** The next `count` requests fail with an HTTP status, by default KMSInternalException and 500. */
  fail(count: number, how: FaultScope & { status?: number | undefined; code?: string | undefined } = {}): void {
    const { status = 500, code = "KMSInternalException", operation } = how;
    const error = () => new AwsError(code, "The request was rejected because an internal exception occurred.", status);
    this.#add({ remaining: count, error, operation });
  }

  #add(fault: Counted): void {
    if (fault.remaining > 0) this.#counted.push(fault);
  }

  /** Back to good behaviour. */
  clear(): void {
    this.latencyMillis = 0;
    this.down = false;
    this.hang = false;
    this.#counted = [];
  }

  /** The fault that this request has drawn, if any; counts it. */
  draw(operation: string): AwsError | undefined {
    const fault = this.#counted.find((f) => f.operation === undefined || f.operation === operation);
    if (fault === undefined) return undefined;
    fault.remaining--;
    this.#counted = this.#counted.filter(({ remaining }) => remaining > 0);
    return fault.error();
  }

  /** How many counted faults are still to come. */
  pending(): number {
    return this.#counted.reduce((sum, { remaining }) => sum + remaining, 0);
  }
}
