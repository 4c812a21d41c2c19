// The registry's entry for etcd.
import type { StorageKind } from "../registry.ts";

/** With etcd's default of 1.5 MiB a request, of which the keys of a commit's read set take a part. */
const VALUE_BYTES_MAX = 1_400_000;

export const etcdKind: StorageKind = {
  type: "etcd",
  aliases: ["etcd3"],
  doc: "Keeps everything in an etcd cluster (3.4 or newer), shared by any number of servers, all of them active.",
  sharing: "machines",
  durable: true,
  valueBytesMax: VALUE_BYTES_MAX,
  async open(config, context) {
    const { parseEtcdOptions } = await import("./options.ts");
    const options = parseEtcdOptions(config, context.environment ?? {});
    const { openEtcdStorage } = await import("./etcd-storage.ts");
    return openEtcdStorage(options, context);
  },
  async capacity(config, context) {
    const { parseEtcdOptions } = await import("./options.ts");
    const { capacityOf } = await import("./capacity.ts");
    return capacityOf(parseEtcdOptions(config, context.environment ?? {}), context.clock);
  },
  startFixture: async () => (await import("./fixture.ts")).startFixture(),
};
