// The seam of audit devices: something that takes a line and says when it has it.

export interface AuditDevice {
  /** Resolves when the line has been handed to the operating system or the peer; rejects when it could not be. */
  write(line: string): Promise<void>;
  close(): Promise<void>;
}

export interface AuditDeviceType {
  readonly type: string;
  /** Opens a device. Throws `invalid_request` naming the option that is wrong. */
  open(options: Readonly<Record<string, string>>): Promise<AuditDevice>;
}
