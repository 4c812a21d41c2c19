// Labels and annotations that the injector reads and writes on pods.

/** A pod with this label set to "true" is sent to the webhook; the API server filters by it. */
export const INJECT_LABEL = "coffer.dev/inject";
/** Written on injected pods, so that a second call leaves them alone. */
export const INJECTED_ANNOTATION = "coffer.dev/injected";
/** Written on injected pods: names of the bindings whose secrets they receive. */
export const BINDINGS_ANNOTATION = "coffer.dev/bindings";
