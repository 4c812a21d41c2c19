// Where things are in the agent's container and in the containers that receive secrets, and the names of what is added.

export const AGENT_CONTAINER = "coffer-agent";
export const HELPER_CONTAINER = "coffer-helper";

/**
 * The program in Coffer's image. `--lite-mode` saves an idle agent a twentieth of its memory (measured: 58.5 MiB resident
 * against 62), and NODE_OPTIONS does not take it.
 */
export const AGENT_COMMAND = [
  "/usr/local/bin/node",
  "--lite-mode",
  "--disable-warning=ExperimentalWarning",
  "/app/coffer.js",
];

/** The static helper in Coffer's image. */
export const HELPER_IN_IMAGE = "/coffer/helper";
/** Where the helper is in containers whose command it starts. */
export const HELPER_DIRECTORY = "/coffer/bin";
export const HELPER_IN_CONTAINER = "/coffer/bin/helper";
/** Where such a container finds its variables. */
export const VARIABLES_DIRECTORY = "/coffer/env";
export const VARIABLES_FILE = "variables";

/** Volumes that the agent writes, each in a directory of its own. */
export const VOLUMES_DIRECTORY = "/coffer/volumes";
export const TOKEN_DIRECTORY = "/coffer/token";
export const TOKEN_FILE = "/coffer/token/token";
export const CA_DIRECTORY = "/coffer/ca";
export const CA_FILE = "/coffer/ca/ca.crt";
export const STATE_DIRECTORY = "/coffer/state";
export const READY_FILE = "/coffer/state/ready";

export const TOKEN_VOLUME = "coffer-token";
export const CA_VOLUME = "coffer-ca";
export const STATE_VOLUME = "coffer-state";
export const HELPER_VOLUME = "coffer-helper";
/** The first of its kind has this name, the next ones -2, -3 and so on. */
export const FILES_VOLUME = "coffer-secrets";
export const VARIABLES_VOLUME = "coffer-env";
