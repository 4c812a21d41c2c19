// The identity mount: entities, their aliases, groups. Mounted once at identity/; what it writes is what the core reads
// through IdentityStore, so it works on the whole transaction and not on a storage view of its own.
import type { Backend } from "../framework/backend.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { aliasPaths } from "./alias-paths.ts";
import { entityPaths } from "./entity-paths.ts";
import { groupAliasPaths } from "./group-alias-paths.ts";
import { groupPaths } from "./group-paths.ts";
import { lookupPaths } from "./lookup-paths.ts";
import { enforcementPaths } from "./mfa/enforcement-paths.ts";
import { methodPaths } from "./mfa/method-paths.ts";
import { secretPaths } from "./mfa/secret-paths.ts";
import { AccessTokens } from "./oidc/access-tokens.ts";
import { assignmentPaths } from "./oidc/assignments.ts";
import { authorizePath } from "./oidc/authorize.ts";
import { clientPaths } from "./oidc/clients.ts";
import { exchangePath } from "./oidc/exchange.ts";
import { keyPaths } from "./oidc/key-paths.ts";
import type { OidcServices } from "./oidc/oidc-services.ts";
import { providerPaths } from "./oidc/providers.ts";
import { rolePaths } from "./oidc/role-paths.ts";
import { scopePaths } from "./oidc/scopes.ts";
import { tokenPaths } from "./oidc/token-paths.ts";
import { userinfoPath } from "./oidc/userinfo.ts";

export function identityBackend(services: OidcServices): Backend<PrivilegedContext> {
  const accessTokens = new AccessTokens();
  return {
    type: "identity",
    summary: "Who is who over all auth methods: entities, aliases, groups, and tokens that tell others.",
    paths: [
      ...entityPaths(),
      ...aliasPaths(),
      ...groupPaths(),
      ...groupAliasPaths(),
      ...lookupPaths(),
      ...secretPaths(),
      ...methodPaths(),
      ...enforcementPaths(),
      ...keyPaths(),
      ...rolePaths(),
      ...tokenPaths(services),
      ...assignmentPaths(),
      ...scopePaths(),
      ...clientPaths(),
      ...providerPaths(services),
      authorizePath(services),
      exchangePath(services, accessTokens),
      userinfoPath(accessTokens),
    ],
  };
}
