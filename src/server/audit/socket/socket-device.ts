// Audit lines to a socket: TCP and Unix sockets take lines with a newline, UDP one line a datagram. The operating system
// having a line is all that can be known: whoever reads confirms nothing.
import { CofferError } from "#common/errors.ts";
import type { AuditDevice, AuditDeviceType } from "../audit-device.ts";
import { DATAGRAM_BYTES_MAX, DatagramPeer } from "../transport/datagram-peer.ts";
import { type PeerAddress, parseNetworkAddress, unreachable } from "../transport/peer-address.ts";
import { StreamPeer } from "../transport/stream-peer.ts";

export const socketAuditDevice: AuditDeviceType = {
  type: "socket",
  options: {
    address: "host:port, or the path of a Unix socket.",
    socket_type: "`tcp` (the default), `udp` or `unix`.",
  },
  make(options) {
    const { address, socket_type: kind = "tcp" } = options;
    if (!address) throw new CofferError("invalid_request", "address is required");
    if (kind === "udp") return datagramDevice(new DatagramPeer(parseNetworkAddress(address)), address);
    if (kind === "tcp") return streamDevice(parseNetworkAddress(address), address);
    if (kind === "unix") return streamDevice({ path: address }, address);
    throw new CofferError("invalid_request", `socket_type must be tcp, udp or unix, not ${JSON.stringify(kind)}`);
  },
};

function streamDevice(target: PeerAddress, address: string): AuditDevice {
  const peer = new StreamPeer(target);
  return {
    probe: async (signal) => {
      await peer.open(signal).catch((cause: unknown) => {
        throw unreachable(address, cause);
      });
    },
    write: (lines, signal) => peer.send(`${lines.join("\n")}\n`, signal),
    close: async () => peer.close(),
  };
}

function datagramDevice(peer: DatagramPeer, address: string): AuditDevice {
  return {
    lineBytesMax: DATAGRAM_BYTES_MAX,
    probe: async () => {
      await peer.open().catch((cause: unknown) => {
        throw unreachable(address, cause);
      });
    },
    write: (lines) => peer.send(lines),
    close: async () => peer.close(),
  };
}
