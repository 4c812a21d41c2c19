// What a controller is to the registry, and what every controller is given.
import type { Clock } from "#common/clock.ts";
import type { Log } from "#common/log.ts";
import type { Controller, ControllerMetrics } from "#kube/controller.ts";
import type { EventRecorder } from "#kube/events.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { Servers } from "../servers/servers.ts";
import type { OperatorSettings } from "../settings.ts";
import type { Watches } from "../watches.ts";
import type { Applier } from "./applier.ts";

export interface ControllerParts {
  readonly client: KubeClient;
  readonly watches: Watches;
  readonly servers: Servers;
  readonly applier: Applier;
  readonly events: EventRecorder;
  readonly settings: OperatorSettings;
  readonly metrics: ControllerMetrics;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ControllerType {
  readonly name: string;
  create(parts: ControllerParts): Controller;
}
