// Clients in storage: by name, by client id, and all of them.
import type { Transaction } from "../../barrier/transaction.ts";
import {
  type Client,
  clientKind,
  clientOfKey,
  clientPointerKind,
  listNames,
  RECORDS_MAX,
  recordKey,
} from "./oidc-records.ts";

export function readClient(tx: Transaction, name: string): Promise<Client | undefined> {
  return tx.read(clientKind, recordKey("client", name));
}

export async function clientById(tx: Transaction, clientId: string): Promise<Client | undefined> {
  const pointer = clientId === "" ? undefined : await tx.read(clientPointerKind, clientOfKey(clientId));
  return pointer && readClient(tx, pointer.name);
}

export function writeClient(tx: Transaction, client: Client): void {
  tx.write(clientKind, recordKey("client", client.name), client);
  tx.write(clientPointerKind, clientOfKey(client.clientId), { name: client.name });
}

export function deleteClient(tx: Transaction, client: Client): void {
  tx.delete(recordKey("client", client.name));
  tx.delete(clientOfKey(client.clientId));
}

export async function allClients(tx: Transaction): Promise<readonly Client[]> {
  const names = await listNames(tx, "client", { limit: RECORDS_MAX });
  await tx.prefetch(names.map((name) => recordKey("client", name)));
  const clients = await Promise.all(names.map((name) => readClient(tx, name)));
  return clients.filter((client) => client !== undefined);
}
