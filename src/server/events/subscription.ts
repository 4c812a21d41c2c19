// One subscriber's queue. It has an end: who reads more slowly than things happen loses the subscription, not the
// server its memory. What a subscriber may see is decided when it reads, by whoever reads for it.
import { BoundedQueue } from "#common/bounded-queue.ts";
import { matchesGlob } from "#common/glob.ts";
import type { Expression } from "../audit/selection/expression.ts";
import type { ServerEvent } from "./event.ts";
import { eventText } from "./filter.ts";

/** Events that wait for one subscriber; they are small, and shared by all who wait for the same. */
export const QUEUE_MAX = 1_000;

/** Which events a subscriber wants. Patterns have "*" for anything. */
export interface EventSelection {
  readonly types: string;
  /** The namespace of the request, whose events are always wanted. */
  readonly namespace: string;
  /** Patterns of further namespaces. */
  readonly namespaces: readonly string[];
  /** Pattern of data paths; "" for all. */
  readonly dataPath: string;
  /** See filter.ts; all without. */
  readonly filter?: Expression | undefined;
}

export class Subscription extends BoundedQueue<ServerEvent> {
  readonly #selection: EventSelection;
  constructor(selection: EventSelection, onClose: () => void) {
    super(QUEUE_MAX, onClose);
    this.#selection = selection;
  }

  offer(event: ServerEvent): void {
    if (selects(this.#selection, event)) this.add(() => event);
  }
}

function selects({ types, namespace, namespaces, dataPath, filter }: EventSelection, event: ServerEvent): boolean {
  if (!matchesGlob(types, event.type)) return false;
  if (dataPath !== "" && !matchesGlob(dataPath, event.dataPath)) return false;
  if (filter && !filter((name) => eventText(event, name))) return false;
  return event.namespace === namespace || namespaces.some((pattern) => matchesGlob(pattern, event.namespace));
}
