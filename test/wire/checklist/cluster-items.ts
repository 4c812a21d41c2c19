// Items 58 to 68: seal, cluster, plumbing of HTTP, environment.
import { expect } from "vitest";
import { cli } from "#test/run-cli.ts";
import { type Api, at, type Item } from "./checklist.ts";

export const clusterItems: readonly Item[] = [
  {
    number: 58,
    says: "while sealed all but the states is 503; shares are checked; a store is initialised once",
    comesLast: true,
    shows: (api) => whileSealed(api, showSealed),
  },
  {
    number: 58,
    says: "a store that is initialised is not initialised again",
    shows: (api) =>
      api.expectError(400, "Vault is already initialized", "POST sys/init", {
        body: { secret_shares: 1, secret_threshold: 1 },
      }),
  },
  {
    number: 59,
    says: "the seal's status has all its members",
    async shows(api) {
      const { body } = await api.must("GET sys/seal-status", { token: null });
      const names = [
        "type",
        "initialized",
        "sealed",
        "t",
        "n",
        "progress",
        "nonce",
        "version",
        "build_date",
        "migration",
      ];
      for (const name of [...names, "cluster_name", "cluster_id", "recovery_seal", "storage_type"])
        expect(body).toHaveProperty(name);
    },
  },
  {
    number: 60,
    says: "health takes statuses from the query and refuses what is none",
    async shows(api) {
      expect((await api.ask("GET sys/health?activecode=299", { token: null })).status).toBe(299);
      expect((await api.ask("GET sys/health?activecode=x", { token: null })).status).toBe(400);
    },
  },
  {
    number: 60,
    says: "a sealed node says that it is a standby and that of replication nothing is known",
    comesLast: true,
    shows: (api) =>
      whileSealed(api, async () => {
        const { status, body } = await api.ask("GET sys/health", { token: null });
        expect(status).toBe(503);
        expect(body).toMatchObject({ sealed: true, standby: true, replication_performance_mode: "unknown" });
      }),
  },
  {
    number: 61,
    says: "a standby redirects when it is told not to forward",
    async shows(api) {
      const { status } = await api.ask("GET one/a", { headers: { "X-Vault-No-Request-Forwarding": "true" } });
      expect(status).toBe(307);
    },
  },
  {
    number: 62,
    says: "a write names the index after which it can be read",
    async shows(api) {
      const { headers } = await api.must("POST one/indexed", { body: { a: "1" } });
      expect(headers.get("x-vault-index")).not.toBe(null);
    },
  },
  {
    number: 63,
    says: "X-Vault-Request and headers that nobody knows do no harm; X-Forwarded-For of anybody is not believed",
    async shows(api) {
      const headers = {
        "X-Vault-Request": "true",
        "X-Something": "x",
        "User-Agent": "y",
        "X-Forwarded-For": "1.2.3.4",
      };
      const token = await api.newToken({ policies: ["default"] });
      expect((await api.ask("GET auth/token/lookup-self", { token, headers })).status).toBe(200);
    },
  },
  {
    number: 64,
    says: "beyond a rate limit is 429, with the limit in headers if wanted",
    async shows(api) {
      await api.must("POST sys/quotas/config", { body: { enable_rate_limit_response_headers: true } });
      await api.must("POST sys/quotas/rate-limit/slow", { body: { path: "limited/", rate: 1, interval: "1m" } });
      const answers = [await api.ask("GET limited/a"), await api.ask("GET limited/a"), await api.ask("GET limited/a")];
      await api.must("DELETE sys/quotas/rate-limit/slow");
      await api.must("POST sys/quotas/config", { body: { enable_rate_limit_response_headers: false } });
      const refused = answers.find(({ status }) => status === 429);
      expect(refused?.text).toContain("rate limit quota exceeded");
      expect(refused?.headers.get("x-ratelimit-limit")).toBe("1");
      expect(refused?.headers.get("retry-after")).toMatch(/^\d+$/);
    },
  },
  {
    number: 65,
    says: "metrics in the form of Prometheus",
    async shows(api) {
      const { text, headers } = await api.must("GET sys/metrics?format=prometheus");
      expect(headers.get("content-type")).toContain("text/plain");
      expect(text).toMatch(/^# (HELP|TYPE) /m);
    },
  },
  {
    number: 65,
    says: "the log as a stream",
    async shows(api) {
      const stop = new AbortController();
      const headers = { "X-Vault-Token": api.rootToken };
      const response = await fetch(`${api.address}/v1/sys/monitor?log_level=debug`, { headers, signal: stop.signal });
      stop.abort();
      expect(response.status).toBe(200);
    },
  },
  {
    number: 65,
    says: "events over a WebSocket",
    async shows(api) {
      const { status } = await api.ask("GET sys/events/subscribe/kv-v2%2Fdata-write");
      expect([101, 400, 426]).toContain(status);
    },
  },
  {
    number: 66,
    says: "a server that needs no leader says that there is none",
    async shows(api) {
      const { body } = await api.must("GET sys/leader", { token: null });
      expect(body).toEqual({ ha_enabled: false });
    },
  },
  {
    number: 66,
    says: "a raft cluster names its members",
    async shows(api) {
      const { body } = await api.must("GET sys/storage/raft/configuration");
      expect(at(body, "data", "config", "servers")).toBeDefined();
    },
  },
  {
    number: 67,
    says: "rekeying and making a root token needs a token unless the listener allows it without",
    async shows(api) {
      for (const path of ["sys/rekey/init", "sys/generate-root/attempt"])
        expect((await api.ask(`GET ${path}`, { token: null })).status, path).toBe(403);
    },
  },
  {
    number: 68,
    says: "the CLI reads the variables of all families",
    async shows(api) {
      for (const family of ["VAULT", "BAO", "COFFER"]) {
        const env = { [`${family}_ADDR`]: api.address, [`${family}_TOKEN`]: api.rootToken };
        const { code, stdout } = await cli({ env }, "token", "lookup", "-format=json");
        expect([code, stdout.includes('"policies"')], family).toEqual([0, true]);
      }
    },
  },
];

async function whileSealed(api: Api, show: (api: Api) => Promise<void>): Promise<void> {
  await api.must("POST sys/seal");
  try {
    await show(api);
  } finally {
    await api.must("POST sys/unseal", { token: null, body: { key: api.unsealKey } });
  }
}

async function showSealed(api: Api): Promise<void> {
  await api.expectError(503, "Vault is sealed", "GET one/a");
  const { body } = await api.must("GET sys/seal-status", { token: null });
  expect(body).toMatchObject({ initialized: true, sealed: true, t: 1, n: 1, progress: 0 });
  const text = "'key' must be specified in request body as JSON, or 'reset' set to true";
  await api.expectError(400, text, "POST sys/unseal", { token: null, body: {} });
  const wrong = { token: null, body: { key: "no hex!" } };
  await api.expectError(400, "'key' must be a valid hex or base64 string", "POST sys/unseal", wrong);
}
