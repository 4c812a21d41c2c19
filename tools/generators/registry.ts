// The generators there are. A new one is one file and one line here; `npm run generate` and the drift test run them all.
import { agentConfigReferenceGenerator } from "./agent-config-reference.ts";
import { annotationReferenceGenerator } from "./annotation-reference.ts";
import { apiReferenceGenerator } from "./api-reference.ts";
import { cliReferenceGenerator } from "./cli-reference.ts";
import { configReferenceGenerator } from "./config-reference.ts";
import { crdGenerator } from "./crds.ts";
import { errorReferenceGenerator } from "./error-reference.ts";
import type { Generator } from "./generator.ts";
import { kindReferenceGenerator } from "./kind-reference.ts";
import { metricReferenceGenerator } from "./metric-reference.ts";
import { sealPictureGenerator } from "./seal-picture.ts";

export const generators: readonly Generator[] = [
  crdGenerator,
  kindReferenceGenerator,
  apiReferenceGenerator,
  annotationReferenceGenerator,
  agentConfigReferenceGenerator,
  cliReferenceGenerator,
  configReferenceGenerator,
  errorReferenceGenerator,
  metricReferenceGenerator,
  sealPictureGenerator,
];
