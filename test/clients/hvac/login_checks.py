"""hvac's login methods that the core has: userpass and approle, all their methods, and auth mounts."""

from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultError

from checks import check, client, contains, equal, holds, refused, status


@check("auth mounts: enable_auth_method, list_auth_methods, tune_auth_method, disable_auth_method")
def auth_mounts() -> None:
    root = client()
    enabled = root.sys.enable_auth_method(
        "userpass", path="people", description="people", config={"default_lease_ttl": "10m", "max_lease_ttl": "1h"}
    )
    status(enabled, 204)
    listed = root.sys.list_auth_methods()
    contains(listed["data"]["people/"], {"type": "userpass", "description": "people"})
    contains(listed["people/"]["config"], {"default_lease_ttl": 600, "max_lease_ttl": 3600})
    tuned = root.sys.tune_auth_method(
        "people", default_lease_ttl="20m", description="all people", listing_visibility="unauth", token_type="service",
        audit_non_hmac_request_keys=["username"], passthrough_request_headers=["X-Custom"],
    )
    status(tuned, 204)
    read = root.sys.read_auth_method_tuning("people")["data"]
    contains(read, {"default_lease_ttl": 1200, "max_lease_ttl": 3600, "description": "all people"})
    contains(read, {"listing_visibility": "unauth", "audit_non_hmac_request_keys": ["username"]})
    refused(InvalidRequest, lambda: root.sys.enable_auth_method("userpass", path="people"))
    refused(InvalidRequest, lambda: root.sys.enable_auth_method("no-such-method", path="x"))
    status(root.sys.disable_auth_method("people"), 204)
    holds("people/" not in root.sys.list_auth_methods()["data"], "it is still listed")


@check("userpass: users, a login that sets the client's token, passwords")
def userpass() -> None:
    root = client()
    root.sys.enable_auth_method("userpass")
    users = root.auth.userpass
    status(users.create_or_update_user("ann", "first-password", policies="reader,default", token_ttl="15m"), 204)
    status(users.create_or_update_user("bob", "other-password", policies=["default"]), 204)
    equal(users.list_user()["data"]["keys"], ["ann", "bob"])
    contains(users.read_user("ann")["data"], {"token_policies": ["reader", "default"], "token_ttl": 900})
    someone = client("")
    auth = someone.auth.userpass.login("ann", "first-password")["auth"]
    contains(auth, {"policies": ["default", "reader"], "lease_duration": 900, "metadata": {"username": "ann"}})
    equal(someone.token, auth["client_token"])
    equal(someone.auth.token.lookup_self()["data"]["display_name"], "userpass-ann")
    holds(auth["entity_id"] != "", "a login has no entity")
    status(users.update_password_on_user("ann", "second-password"), 204)
    refused(InvalidRequest, lambda: client("").auth.userpass.login("ann", "first-password"))
    client("").auth.userpass.login("ann", "second-password", use_token=False)
    status(users.delete_user("bob"), 204)
    refused(InvalidPath, lambda: users.read_user("bob"))


@check("approle: roles and their role ids")
def approle_roles() -> None:
    root = client()
    root.sys.enable_auth_method("approle")
    roles = root.auth.approle
    made = roles.create_or_update_approle(
        "web", bind_secret_id=True, token_policies=["reader"], token_ttl="20m", token_max_ttl="1h",
        secret_id_ttl="10m", secret_id_num_uses=3, token_type="service",
    )
    status(made, 204)
    equal(roles.list_roles()["data"]["keys"], ["web"])
    contains(roles.read_role("web")["data"], {"token_policies": ["reader"], "token_ttl": 1200, "secret_id_num_uses": 3})
    contains(roles.read_role("web")["data"], {"bind_secret_id": True, "secret_id_ttl": 600, "token_max_ttl": 3600})
    holds(len(roles.read_role_id("web")["data"]["role_id"]) == 36, "the role id is no UUID")
    status(roles.update_role_id("web", "my-own-role-id"), 204)
    equal(roles.read_role_id("web")["data"]["role_id"], "my-own-role-id")


@check("approle: secret ids, by themselves and by accessor")
def approle_secret_ids() -> None:
    roles = client().auth.approle
    made = roles.generate_secret_id("web", metadata={"host": "a1"})["data"]
    contains(made, {"secret_id_num_uses": 3, "secret_id_ttl": 600})
    contains(roles.read_secret_id("web", made["secret_id"])["data"], {"metadata": {"host": "a1"}, "secret_id_num_uses": 3})
    accessor = made["secret_id_accessor"]
    equal(roles.list_secret_id_accessors("web")["data"]["keys"], [accessor])
    equal(roles.read_secret_id_accessor("web", accessor)["data"]["secret_id_accessor"], accessor)
    status(roles.destroy_secret_id("web", made["secret_id"]), 204)
    refused(VaultError, lambda: roles.read_secret_id_accessor("web", accessor))
    custom = roles.create_custom_secret_id("web", "of-my-own", metadata={"host": "a2"})["data"]
    equal(custom["secret_id"], "of-my-own")
    status(roles.destroy_secret_id_accessor("web", custom["secret_id_accessor"]), 204)


@check("approle: login, a wrapped secret id, refusals")
def approle_login() -> None:
    root = client()
    wrapped = root.auth.approle.generate_secret_id("web", metadata={"host": "a1"}, wrap_ttl="60s")
    secret_id = client(wrapped["wrap_info"]["token"]).sys.unwrap()["data"]["secret_id"]
    someone = client("")
    auth = someone.auth.approle.login("my-own-role-id", secret_id)["auth"]
    contains(auth, {"policies": ["default", "reader"], "lease_duration": 1200, "renewable": True})
    contains(auth["metadata"], {"role_name": "web", "host": "a1"})
    equal(someone.token, auth["client_token"])
    equal(someone.auth.token.renew_self()["auth"]["lease_duration"], 1200)
    wrong = refused(InvalidRequest, lambda: client("").auth.approle.login("my-own-role-id", "wrong"))
    holds("invalid role or secret ID" in str(wrong), str(wrong))
    refused(Forbidden, lambda: client("").auth.approle.login("x", "y", mount_point="nowhere"))


@check("approle: delete_role")
def approle_delete() -> None:
    roles = client().auth.approle
    status(roles.delete_role("web"), 204)
    refused(InvalidPath, lambda: roles.read_role("web"))
    refused(InvalidPath, lambda: roles.list_roles())
