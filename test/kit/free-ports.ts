// Ports that nobody listens on at the moment, for programs that cannot choose one themselves and say which.
import { once } from "node:events";
import { createServer } from "node:net";

/** Different ones; another program may take one before it is used, as with every such look. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(probes.map((probe) => once(probe, "listening")));
  const ports = probes.map((probe) => {
    const address = probe.address();
    if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
    return address.port;
  });
  await Promise.all(
    probes.map(async (probe) => {
      const closed = once(probe, "close");
      probe.close();
      await closed;
    }),
  );
  return ports;
}
