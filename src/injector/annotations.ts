// Labels and annotations that the injector reads and writes on pods.

/** A pod with this label set to "true" is sent to the webhook; the API server filters by it. */
export const INJECT_LABEL = "coffer.dev/inject";
/** Written on injected pods, so that a second call leaves them alone. */
export const INJECTED_ANNOTATION = "coffer.dev/injected";
/** Written on injected pods: names of the bindings whose secrets they receive. */
export const BINDINGS_ANNOTATION = "coffer.dev/bindings";
/** All labels and annotations of Coffer's begin with this. */
export const COFFER_PREFIX = "coffer.dev/";
/** The annotations of ours that pods may carry. */
export const KNOWN_ANNOTATIONS: ReadonlySet<string> = new Set([INJECTED_ANNOTATION, BINDINGS_ANNOTATION]);
