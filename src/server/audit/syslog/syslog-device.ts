// Audit lines to a syslog daemon: this machine's (the default), or one over the network by RFC 5424.
import { CofferError } from "#common/errors.ts";
import type { AuditDevice, AuditDeviceType, AuditHost } from "../audit-device.ts";
import { DATAGRAM_BYTES_MAX, DatagramPeer } from "../transport/datagram-peer.ts";
import { parseNetworkAddress, unreachable } from "../transport/peer-address.ts";
import { StreamPeer } from "../transport/stream-peer.ts";
import { LOCAL_LINE_BYTES_MAX, localSyslog } from "./local-syslog.ts";
import { counted, HEADER_BYTES_MAX, networkMessage, type SyslogFormat, syslogFormat } from "./syslog-message.ts";

const LOCAL_SOCKET = "/dev/log";

export const syslogAuditDevice: AuditDeviceType = {
  type: "syslog",
  options: {
    facility: "Facility of the messages; `auth` by default.",
    tag: "Name of the program in the messages; `coffer` by default.",
    socket_type: "`unix` (the default) for this machine's daemon, `tcp` or `udp` for one elsewhere.",
    address: "host:port of the daemon; for `unix` the path of its socket, `/dev/log` by default.",
  },
  make(options, host) {
    const format = syslogFormat(options["facility"], options["tag"]);
    const { address, socket_type: kind = "unix" } = options;
    if (kind === "unix") return localDevice(address ?? LOCAL_SOCKET, format, host);
    if (kind !== "tcp" && kind !== "udp")
      throw new CofferError("invalid_request", `socket_type must be unix, tcp or udp, not ${JSON.stringify(kind)}`);
    if (!address) throw new CofferError("invalid_request", "address is required");
    return kind === "tcp" ? streamDevice(address, format, host) : datagramDevice(address, format, host);
  },
};

function localDevice(path: string, format: SyslogFormat, { clock }: AuditHost): AuditDevice {
  const daemon = localSyslog(path, format, () => clock.now());
  return {
    lineBytesMax: LOCAL_LINE_BYTES_MAX,
    probe: async (signal) => {
      await daemon.open(signal).catch((cause: unknown) => {
        throw unreachable(path, cause);
      });
    },
    write: (lines, signal) => daemon.send(lines, signal),
    close: async () => daemon.close(),
  };
}

function streamDevice(address: string, format: SyslogFormat, { clock }: AuditHost): AuditDevice {
  const peer = new StreamPeer(parseNetworkAddress(address));
  return {
    probe: async (signal) => {
      await peer.open(signal).catch((cause: unknown) => {
        throw unreachable(address, cause);
      });
    },
    write: (lines, signal) =>
      peer.send(lines.map((line) => counted(networkMessage(format, clock.now(), line))).join(""), signal),
    close: async () => peer.close(),
  };
}

function datagramDevice(address: string, format: SyslogFormat, { clock }: AuditHost): AuditDevice {
  const peer = new DatagramPeer(parseNetworkAddress(address));
  return {
    lineBytesMax: DATAGRAM_BYTES_MAX - HEADER_BYTES_MAX,
    probe: async () => {
      await peer.open().catch((cause: unknown) => {
        throw unreachable(address, cause);
      });
    },
    write: (lines) => peer.send(lines.map((line) => networkMessage(format, clock.now(), line))),
    close: async () => peer.close(),
  };
}
