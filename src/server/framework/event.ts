// What a backend tells of a change it made. It reaches subscribers once the change is committed, and not at all when it
// is not. Paths and numbers only: an event must never hold a secret value.

export interface BackendEvent {
  /** "kv-v2/data-write". */
  readonly type: string;
  /** Below the mount: the request's path as clients know it. */
  readonly path: string;
  /** Below the mount: what the event is about. A subscriber's policies must grant `subscribe` on it. */
  readonly dataPath: string;
  /** The last part of the type, unless it says otherwise; "modified" is whether anything changed. */
  readonly metadata: Readonly<Record<string, string>>;
}
