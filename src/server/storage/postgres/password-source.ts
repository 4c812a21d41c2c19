// Where the password of a new connection comes from: the configuration, a file, or the AWS identity of this process. Each
// connection asks anew, so that what changes or runs out is never kept. The SDK is loaded when it is wanted only.
import { readFile } from "node:fs/promises";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { ConnectOptions, HostAddress } from "./connect-options.ts";
import { type AwsCredentials, iamToken } from "./iam-token.ts";

/** Where RDS has the region in the names of its hosts. */
const RDS_HOST = /\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$/;

export class PasswordSource {
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  #credentials: Promise<() => Promise<AwsCredentials>> | undefined;

  constructor(options: ConnectOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Throws `unavailable` without an AWS identity, `invalid_request` when the file cannot be read. */
  async passwordFor(host: HostAddress): Promise<string> {
    const { password, passwordFile, iam } = this.#options;
    if (iam !== undefined) return this.#tokenFor(host, iam.region);
    if (passwordFile === undefined) return password ?? "";
    try {
      return (await readFile(passwordFile, "utf8")).replace(/\r?\n$/, "");
    } catch (cause) {
      throw new CofferError("invalid_request", `storage.password_file cannot be read (${messageOf(cause)})`, { cause });
    }
  }

  async #tokenFor({ host, port }: HostAddress, configured: string | undefined): Promise<string> {
    const region = configured ?? RDS_HOST.exec(host)?.[1];
    if (region === undefined)
      throw new CofferError("invalid_request", "the region of the database is not known; set storage.aws_region");
    try {
      this.#credentials ??= this.#chain(region);
      const credentials = await (await this.#credentials)();
      return iamToken({ host, port, user: this.#options.user, region, credentials, now: this.#clock.now() });
    } catch (cause) {
      const message = `no AWS identity for the database (${messageOf(cause)}); give the process a role or keys`;
      throw new CofferError("unavailable", message, { cause });
    }
  }

  /** Keeps credentials for as long as they last, and gets new ones then. */
  async #chain(region: string): Promise<() => Promise<AwsCredentials>> {
    const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
    return fromNodeProviderChain({ clientConfig: { region } });
  }
}
