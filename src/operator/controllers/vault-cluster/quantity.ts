// Kubernetes' quantities (an amount of bytes) as numbers; format: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity.

const UNITS: Readonly<Record<string, number>> = {
  ...{ "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3, Ti: 1024 ** 4, Pi: 1024 ** 5, Ei: 1024 ** 6 },
};

/** Undefined for what is none. */
export function quantityBytes(text: string): number | undefined {
  const [, digits = "", unit = "", exponent = "0"] =
    /^\+?(\d+\.?\d*|\.\d+)(?:([kMGTPE]i?|Ki)?|[eE]([+-]?\d+))$/.exec(text) ?? [];
  const scale = UNITS[unit];
  return digits === "" || scale === undefined ? undefined : Number(digits) * scale * 10 ** Number(exponent);
}
