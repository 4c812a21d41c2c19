// Whether those who approved a request are enough, by the groups they are in now. Somebody who has left a group, was
// disabled or was merged into another counts as what he is now.
import type { Transaction } from "../barrier/transaction.ts";
import { currentEntity } from "../identity/entities.ts";
import { groupsOf } from "../identity/groups.ts";
import type { ControlFactor, ControlGroup } from "../policy/control-group.ts";

export interface Approver {
  readonly id: string;
  readonly name: string;
  readonly groupIds: ReadonlySet<string>;
  /** Lower case. */
  readonly groupNames: ReadonlySet<string>;
}

/** Somebody as the identity store knows him now; undefined for who is gone or disabled. */
export async function approverOf(tx: Transaction, entityId: string): Promise<Approver | undefined> {
  const entity = entityId === "" ? undefined : await currentEntity(tx, entityId);
  if (!entity || entity.disabled) return undefined;
  const { direct, inherited } = await groupsOf(tx, entity);
  const groups = [...direct, ...inherited];
  return {
    id: entity.id,
    name: entity.name,
    groupIds: new Set(groups.map((group) => group.id)),
    groupNames: new Set(groups.map((group) => group.name.toLowerCase())),
  };
}

/** Those who approved, each once. */
export async function approversOf(tx: Transaction, entityIds: readonly string[]): Promise<readonly Approver[]> {
  const found = new Map<string, Approver>();
  for (const id of entityIds) {
    const approver = await approverOf(tx, id);
    if (approver) found.set(approver.id, approver);
  }
  return [...found.values()];
}

/** The id of who made a request as the identity store knows him now; "" for a token without an entity. */
export async function requesterIdOf(tx: Transaction, entityId: string): Promise<string> {
  return entityId === "" ? "" : ((await currentEntity(tx, entityId))?.id ?? "");
}

/** Whether a request without a known requester can be approved: only where he may be among those who approve. */
export function allowsAnyRequester(control: ControlGroup): boolean {
  return control.factors.every((factor) => factor.selfAuthorization);
}

/** Why somebody cannot approve, or undefined when he can. `requesterId` is that of `requesterIdOf`. */
export function approvalRefusal(
  control: ControlGroup,
  approver: Approver,
  requesterId: string,
): "not in a group" | "own request" | undefined {
  const ofGroup = control.factors.filter((factor) => isMember(factor, approver));
  if (ofGroup.length === 0) return "not in a group";
  return ofGroup.some((factor) => counts(factor, approver, requesterId)) ? undefined : "own request";
}

/** Whether every factor has its approvals. */
export function isApproved(control: ControlGroup, approvers: readonly Approver[], requesterId: string): boolean {
  return control.factors.every(
    (factor) => approvers.filter((approver) => counts(factor, approver, requesterId)).length >= factor.approvals,
  );
}

function counts(factor: ControlFactor, approver: Approver, requesterId: string): boolean {
  if (!isMember(factor, approver)) return false;
  // A requester whom nobody knows may be the approver himself.
  return factor.selfAuthorization || (requesterId !== "" && approver.id !== requesterId);
}

function isMember({ groupIds, groupNames }: ControlFactor, approver: Approver): boolean {
  const byName = groupNames.some((name) => approver.groupNames.has(name.toLowerCase()));
  return byName || groupIds.some((id) => approver.groupIds.has(id));
}
