// npm run bench:operator [-- -bindings=10000 -namespaces=100]: many SecretBindings, each with a Kubernetes Secret, against
// a real API server (test/cluster's, without a node) and a real server, all on this machine.
import { findKubePrograms } from "#test/kit/kube-api.ts";
import { startWorld } from "#test/operator/world.ts";
import { fill, measure } from "./measure.ts";

const BINDINGS = 10_000;
const NAMESPACES = 100;
const IDLE_MILLIS = 20_000;

const number = (name: string, standard: number) => {
  const given = process.argv.find((word) => word.startsWith(`-${name}=`))?.split("=")[1];
  return given === undefined ? standard : Number(given);
};
const seconds = (millis: number) => (millis / 1000).toFixed(0);
const programs = findKubePrograms(process.env);
if (programs === undefined) process.exit(1);
const load = { bindings: number("bindings", BINDINGS), namespaces: number("namespaces", NAMESPACES) };
const world = await startWorld(programs, { operator: { secretNamespaces: ["*"] } });
try {
  const begin = performance.now();
  await fill(world, load);
  console.log(`filled in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  const found = await measure(world, load, IDLE_MILLIS);
  const edits = found.editMillis.toSorted((a, b) => a - b).map((millis) => Math.round(millis));
  const lines = {
    bindings: load.bindings,
    namespaces: load.namespaces,
    "all synced, s": (found.syncedMillis / 1000).toFixed(1),
    "processor time till then, s": `operator ${seconds(found.cpuMillis.operator)}, API server ${seconds(found.cpuMillis.api)}, Coffer ${seconds(found.cpuMillis.server)}`,
    "highest memory, MiB": Math.round(found.memoryBytes / 2 ** 20),
    "refreshes in line at the first edit": found.queued,
    "edits synced, ms": edits.join(" "),
    "idle, share of a core": found.idleCores.toFixed(3),
    "restart until all looked at, s": (found.restartMillis / 1000).toFixed(1),
    "writes by the restart": found.restartWrites,
  };
  for (const [name, value] of Object.entries(lines)) console.log(`${name}: ${value}`);
} finally {
  await world[Symbol.asyncDispose]();
}
