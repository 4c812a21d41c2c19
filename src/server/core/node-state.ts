// The states of a node, as a pure function. Only node.ts performs what follows from a transition.
//
//   uninitialised --initialised--> sealed --opened--> unsealed --closed--> sealed
//                                     ^                                      |
//                                     +--------- (again opened) -------------+
//   any --stopped--> stopped

export type NodeState = "uninitialised" | "sealed" | "unsealed" | "stopped";
export type NodeEvent = "initialised" | "opened" | "closed" | "stopped";

const TRANSITIONS: Readonly<Record<NodeState, Partial<Record<NodeEvent, NodeState>>>> = {
  uninitialised: { initialised: "sealed", stopped: "stopped" },
  sealed: { opened: "unsealed", closed: "sealed", stopped: "stopped" },
  unsealed: { closed: "sealed", stopped: "stopped" },
  stopped: {},
};

/** The next state, or undefined when the event makes no sense in this state. */
export function transition(state: NodeState, event: NodeEvent): NodeState | undefined {
  return TRANSITIONS[state][event];
}
