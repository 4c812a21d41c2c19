// The generators there are. A new one is one file and one line here; `npm run generate` and the drift test run them all.
import { crdGenerator } from "./crds.ts";
import type { Generator } from "./generator.ts";
import { kindReferenceGenerator } from "./kind-reference.ts";

export const generators: readonly Generator[] = [crdGenerator, kindReferenceGenerator];
