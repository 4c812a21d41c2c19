"""hvac's token methods, policies, capabilities, response wrapping and the leases that tokens have."""

from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultError

from checks import ROOT_TOKEN, check, client, contains, equal, eventually, holds, refused, status

READER = 'path "secret-of-policy/*" {\n  capabilities = ["read", "list"]\n}\n'


@check("policy: sys.create_or_update_policy, read_policy, list_policies, delete_policy")
def policies_old() -> None:
    root = client()
    status(root.sys.create_or_update_policy("old-reader", READER), 204)
    read = root.sys.read_policy("old-reader")
    equal(read["rules"], READER)
    equal(read["data"]["rules"], READER)
    listed = root.sys.list_policies()
    holds("old-reader" in listed["policies"], "policies does not name it")
    equal(listed["data"]["policies"], listed["policies"])
    status(root.sys.delete_policy("old-reader"), 204)
    refused(InvalidPath, lambda: root.sys.read_policy("old-reader"))


@check("policy: acl policies, from text and from a dictionary")
def policies_acl() -> None:
    root = client()
    status(root.sys.create_or_update_acl_policy("reader", READER), 204)
    equal(root.sys.read_acl_policy("reader")["data"]["policy"], READER)
    as_json = {"path": {"secret-of-policy/*": {"capabilities": ["read"]}}}
    status(root.sys.create_or_update_acl_policy("reader-json", as_json), 204)
    holds("reader-json" in root.sys.list_acl_policies()["data"]["keys"], "the list does not name it")
    status(root.sys.delete_acl_policy("reader-json"), 204)
    refused(InvalidRequest, lambda: root.sys.create_or_update_acl_policy("broken", 'path "x" { capabilities = ["fly"] }'))


@check("policy: get_policy parses what the server gives back")
def policies_get() -> None:
    equal(client().get_policy("reader"), READER)


@check("token: create, lookup, lookup_self, lookup_accessor")
def create_and_lookup() -> None:
    tokens = client().auth.token
    made = tokens.create(policies=["reader"], ttl="1h", meta={"team": "a"}, display_name="shown", num_uses=0)["auth"]
    contains(made, {"policies": ["default", "reader"], "renewable": True, "lease_duration": 3600, "token_type": "service"})
    contains(made, {"metadata": {"team": "a"}, "orphan": False})
    looked = tokens.lookup(made["client_token"])["data"]
    contains(looked, {"id": made["client_token"], "accessor": made["accessor"], "display_name": "token-shown"})
    contains(looked, {"meta": {"team": "a"}, "path": "auth/token/create", "type": "service", "creation_ttl": 3600})
    own = client(made["client_token"]).auth.token.lookup_self()["data"]
    equal(own["id"], made["client_token"])
    by_accessor = tokens.lookup_accessor(made["accessor"])["data"]
    contains(by_accessor, {"id": "", "accessor": made["accessor"], "policies": ["default", "reader"]})
    holds(made["accessor"] in tokens.list_accessors()["data"]["keys"], "the accessor is not listed")


@check("token: lookups of unknown tokens are refused in hvac's own classes")
def lookup_unknown() -> None:
    tokens = client().auth.token
    refused(Forbidden, lambda: tokens.lookup("s.unknown"))
    refused(VaultError, lambda: tokens.lookup_accessor("unknown"))
    refused(Forbidden, lambda: client("s.unknown").auth.token.lookup_self())


@check("token: create_orphan, no_default_policy, batch tokens, tokens of one use")
def kinds() -> None:
    tokens = client().auth.token
    orphan = tokens.create_orphan(policies=["reader"], no_default_policy=True)["auth"]
    contains(orphan, {"orphan": True, "policies": ["reader"]})
    batch = tokens.create(policies=["reader"], type="batch", ttl="5m")["auth"]
    contains(batch, {"token_type": "batch", "accessor": "", "renewable": False})
    once = client(tokens.create(policies=["default"], num_uses=1)["auth"]["client_token"])
    equal(once.auth.token.lookup_self()["data"]["policies"], ["default"])
    refused(Forbidden, lambda: once.auth.token.lookup_self())


@check("token: renew, renew_self, renew_accessor, periodic tokens")
def renew() -> None:
    tokens = client().auth.token
    made = tokens.create(policies=["default"], period="30m")["auth"]
    equal(made["lease_duration"], 1800)
    contains(tokens.renew(made["client_token"], increment="10m")["auth"], {"lease_duration": 1800, "renewable": True})
    own = client(made["client_token"]).auth.token.renew_self(increment="1h")["auth"]
    contains(own, {"client_token": made["client_token"], "lease_duration": 1800})
    contains(tokens.renew_accessor(made["accessor"])["auth"], {"accessor": made["accessor"], "client_token": ""})
    plain = tokens.create(policies=["default"], ttl="10m")["auth"]
    equal(tokens.renew(plain["client_token"], increment="20m")["auth"]["lease_duration"], 1200)
    refused(InvalidRequest, lambda: tokens.renew("s.unknown"))


@check("token: revoke, revoke_self, revoke_accessor")
def revoke() -> None:
    tokens = client().auth.token
    first, second, third = (tokens.create(policies=["default"])["auth"] for _ in range(3))
    status(tokens.revoke(first["client_token"]), 204)
    status(client(second["client_token"]).auth.token.revoke_self(), 204)
    status(tokens.revoke_accessor(third["accessor"]), 204)
    for made in (first, second, third):
        refused(Forbidden, lambda: tokens.lookup(made["client_token"]))


@check("token: children end with their parent, and become orphans by revoke_and_orphan_children")
def children() -> None:
    tokens = client().auth.token
    may_create = 'path "auth/token/create" { capabilities = ["create", "update", "sudo"] }'
    client().sys.create_or_update_acl_policy("maker", may_create)
    for orphaned in (False, True):
        parent = tokens.create(policies=["maker"])["auth"]["client_token"]
        child = client(parent).auth.token.create(policies=["default"])["auth"]["client_token"]
        if orphaned:
            status(tokens.revoke_and_orphan_children(parent), 204)
            equal(tokens.lookup(child)["data"]["orphan"], True)
        else:
            status(tokens.revoke(parent), 204)
            refused(Forbidden, lambda: tokens.lookup(child))


@check("token: roles: create_or_update_role, read_role, list_roles, delete_role, tokens of a role")
def roles() -> None:
    tokens = client().auth.token
    made = tokens.create_or_update_role("ci", allowed_policies=["reader"], orphan=True, token_period="15m")
    status(made, 204)
    contains(tokens.read_role("ci")["data"], {"name": "ci", "allowed_policies": ["reader"], "orphan": True})
    equal(tokens.read_role("ci")["data"]["token_period"], 900)
    equal(tokens.list_roles()["data"]["keys"], ["ci"])
    token = tokens.create(role_name="ci")["auth"]
    contains(token, {"lease_duration": 900, "orphan": True, "policies": ["default", "reader"]})
    equal(tokens.lookup(token["client_token"])["data"]["role"], "ci")
    status(tokens.delete_role("ci"), 204)
    refused(InvalidPath, lambda: tokens.read_role("ci"))
    refused(InvalidPath, lambda: tokens.list_roles())


@check("token: tidy answers 202 and a warning")
def tidy() -> None:
    answer = client().auth.token.tidy()
    equal(answer.status_code, 202)
    equal(len(answer.json()["warnings"]), 1)


@check("client: is_authenticated, lookup_token, logout with revocation")
def sessions() -> None:
    made = client().auth.token.create(policies=["default"])["auth"]["client_token"]
    someone = client(made)
    equal(someone.is_authenticated(), True)
    equal(someone.lookup_token()["data"]["id"], made)
    someone.logout(revoke_token=True)
    equal(client(made).is_authenticated(), False)
    equal(someone.is_authenticated(), False)


@check("capabilities: of oneself, of a token, of an accessor")
def capabilities() -> None:
    root = client()
    made = root.auth.token.create(policies=["reader"])["auth"]
    path = "secret-of-policy/a"
    equal(root.sys.get_capabilities([path])["capabilities"], ["root"])
    several = root.sys.get_capabilities([path, "other"], token=made["client_token"])
    equal(several["data"][path], ["list", "read"])
    equal(several["data"]["other"], ["deny"])
    equal(root.sys.get_capabilities([path], accessor=made["accessor"])["capabilities"], ["list", "read"])
    equal(client(made["client_token"]).sys.get_capabilities([path])[path], ["list", "read"])


@check("refusals: a policy that does not allow it, a wrong token, none at all")
def refusals() -> None:
    weak = client(client().auth.token.create(policies=["default"])["auth"]["client_token"])
    for refusing in (weak, client("s.wrong"), client("")):
        error = refused(Forbidden, lambda: refusing.sys.list_mounted_secrets_engines())
        holds("permission denied" in str(error), str(error))


@check("wrapping: wrap, unwrap with the wrapping token, and only once")
def wrap() -> None:
    root = client()
    wrapped = root.sys.wrap({"greeting": "hello"}, ttl=120)["wrap_info"]
    contains(wrapped, {"ttl": 120, "creation_path": "sys/wrapping/wrap"})
    # Without a token of its own, as the party that was handed the wrapping token has it.
    equal(client(wrapped["token"]).sys.unwrap()["data"], {"greeting": "hello"})
    refused(InvalidRequest, lambda: root.sys.unwrap(token=wrapped["token"]))


@check("wrapping: unwrap a token given in the body; wrapped tokens and secret ids")
def wrap_of_auth() -> None:
    root = client()
    wrapped = root.auth.token.create(policies=["reader"], wrap_ttl="60s")
    equal(wrapped["auth"], None)
    holds(wrapped["wrap_info"]["wrapped_accessor"] != "", "no wrapped_accessor")
    inside = root.sys.unwrap(token=wrapped["wrap_info"]["token"])["auth"]
    equal(root.auth.token.lookup(inside["client_token"])["data"]["accessor"], wrapped["wrap_info"]["wrapped_accessor"])


@check("wrapping: auth_cubbyhole takes the token out and uses it")
def wrap_login() -> None:
    wrapped = client().auth.token.create(policies=["reader"], wrap_ttl="60s")["wrap_info"]["token"]
    someone = client("")
    someone.auth_cubbyhole(wrapped)
    equal(someone.auth.token.lookup_self()["data"]["policies"], ["default", "reader"])


@check("wrapping: sys/wrapping/lookup and rewrap by plain writes")
def wrap_lookup() -> None:
    root = client()
    token = root.sys.wrap({"a": "b"}, ttl=90)["wrap_info"]["token"]
    looked = root.write_data("sys/wrapping/lookup", data={"token": token})["data"]
    contains(looked, {"creation_ttl": 90, "creation_path": "sys/wrapping/wrap"})
    again = root.write_data("sys/wrapping/rewrap", data={"token": token})["wrap_info"]["token"]
    refused(InvalidRequest, lambda: root.sys.unwrap(token=token))
    equal(root.sys.unwrap(token=again)["data"], {"a": "b"})


@check("leases: list_leases, read_lease, renew_lease, revoke_lease of a token that logged in")
def leases() -> None:
    root = client()
    root.sys.enable_auth_method("userpass", path="leased")
    root.auth.userpass.create_or_update_user("ann", "a-password", policies="default", mount_point="leased")
    someone = client("")
    someone.auth.userpass.login("ann", "a-password", mount_point="leased")
    prefix = "auth/leased/login/ann"
    names = root.sys.list_leases(prefix)["data"]["keys"]
    equal(len(names), 1)
    lease = f"{prefix}/{names[0]}"
    contains(root.sys.read_lease(lease)["data"], {"id": lease, "renewable": True})
    # Tokens are renewed by themselves, not by their lease.
    refused(InvalidRequest, lambda: root.sys.renew_lease(lease, increment=300))
    status(root.sys.revoke_lease(lease), 204)
    eventually(lambda: not someone.is_authenticated(), "the token ended with its lease")
    refused(InvalidRequest, lambda: root.sys.read_lease(lease))


@check("leases: of a secret: a one-time password ends with its lease")
def lease_of_secret() -> None:
    root = client()
    root.sys.enable_secrets_engine("ssh", path="leased-ssh")
    ssh = root.secrets.ssh
    ssh.create_role(
        name="ops", key_type="otp", default_user="ann", cidr_list="10.0.0.0/8", mount_point="leased-ssh"
    )
    made = ssh.generate_ssh_credentials(name="ops", username="ann", ip="10.1.2.3", mount_point="leased-ssh")
    lease = made["lease_id"]
    holds(lease.startswith("leased-ssh/creds/ops/"), f"the lease is {lease}")
    equal(root.sys.list_leases("leased-ssh/creds/ops")["data"]["keys"], [lease.rsplit("/", 1)[1]])
    contains(root.sys.read_lease(lease)["data"], {"id": lease, "renewable": False})
    not_renewable = refused(InvalidRequest, lambda: root.sys.renew_lease(lease))
    holds("not renewable" in str(not_renewable), str(not_renewable))
    status(root.sys.revoke_lease(lease), 204)
    refused(InvalidRequest, lambda: root.sys.read_lease(lease))
    refused(
        InvalidRequest, lambda: root.secrets.ssh.verify_ssh_otp(otp=made["data"]["key"], mount_point="leased-ssh")
    )
    status(root.sys.disable_secrets_engine("leased-ssh"), 204)


@check("leases: revoke_prefix and revoke_force end what is below")
def lease_prefix() -> None:
    root = client()
    for revoke_below in (root.sys.revoke_prefix, root.sys.revoke_force):
        someone = client("")
        someone.auth.userpass.login("ann", "a-password", mount_point="leased")
        status(revoke_below("auth/leased"), 204)
        eventually(lambda: not someone.is_authenticated(), f"the token ended by {revoke_below.__name__}")
    status(root.sys.disable_auth_method("leased"), 204)


@check("token: the root token is still what it was")
def root_token() -> None:
    contains(client().auth.token.lookup(ROOT_TOKEN)["data"], {"policies": ["root"], "ttl": 0, "expire_time": None})
