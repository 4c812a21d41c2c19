"""hvac's identity methods: entities, aliases, groups, lookups and merges. Uses the userpass mount of the login checks."""

import base64
import json

from hvac.exceptions import InvalidPath, InvalidRequest

from checks import check, client, contains, equal, holds, refused, status


def accessor_of(path: str) -> str:
    return client().sys.list_auth_methods()["data"][path]["accessor"]


@check("identity: entities by id and by name")
def entities() -> None:
    identity = client().secrets.identity
    made = identity.create_or_update_entity("carl", metadata={"team": "a"}, policies=["reader"])["data"]
    by_id = identity.read_entity(made["id"])["data"]
    contains(by_id, {"name": "carl", "metadata": {"team": "a"}, "policies": ["reader"], "disabled": False, "aliases": []})
    equal(identity.read_entity_by_name("carl")["data"]["id"], made["id"])
    status(identity.create_or_update_entity_by_name("carl", metadata={"team": "b"}), 204)
    status(identity.update_entity(made["id"], name="carl", policies=["default"], disabled=True), 204)
    contains(identity.read_entity(made["id"])["data"], {"metadata": {"team": "b"}, "policies": ["default"], "disabled": True})
    named = identity.create_or_update_entity_by_name("dora", metadata={})["data"]
    equal(named["name"], "dora")
    for method in ("LIST", "GET"):
        listed = identity.list_entities(method=method)["data"]
        holds({made["id"], named["id"]} <= set(listed["keys"]), "an id is not listed")
        equal(listed["key_info"][made["id"]]["name"], "carl")
        names = identity.list_entities_by_name(method=method)["data"]["keys"]
        holds({"carl", "dora"} <= set(names), "a name is not listed")
    status(identity.delete_entity(made["id"]), 204)
    status(identity.delete_entity_by_name("dora"), 204)
    refused(InvalidPath, lambda: identity.read_entity(made["id"]))
    refused(InvalidPath, lambda: identity.read_entity_by_name("dora"))


@check("identity: aliases, and logins that find their entity by them")
def aliases() -> None:
    identity = client().secrets.identity
    accessor = accessor_of("userpass/")
    client().auth.userpass.create_or_update_user("erin", "erin-password", policies="default")
    entity = identity.create_or_update_entity("erin-entity", policies=["reader"])["data"]["id"]
    alias = identity.create_or_update_entity_alias("erin", canonical_id=entity, mount_accessor=accessor)["data"]
    equal(alias["canonical_id"], entity)
    read = identity.read_entity_alias(alias["id"])["data"]
    contains(read, {"name": "erin", "canonical_id": entity, "mount_accessor": accessor, "mount_type": "userpass"})
    auth = client("").auth.userpass.login("erin", "erin-password")["auth"]
    contains(auth, {"entity_id": entity, "identity_policies": ["reader"], "token_policies": ["default"]})
    equal(auth["policies"], ["default", "reader"])
    identity.update_entity_alias(alias["id"], name="erin-2", canonical_id=entity, mount_accessor=accessor)
    equal(identity.read_entity_alias(alias["id"])["data"]["name"], "erin-2")
    for method in ("LIST", "GET"):
        holds(alias["id"] in identity.list_entity_aliases(method=method)["data"]["keys"], "the alias is not listed")
    status(identity.delete_entity_alias(alias["id"]), 204)
    refused(InvalidPath, lambda: identity.read_entity_alias(alias["id"]))


@check("identity: lookup_entity by name, id, alias id and alias name")
def lookup_entity() -> None:
    identity = client().secrets.identity
    accessor = accessor_of("userpass/")
    entity = identity.create_or_update_entity("finn")["data"]["id"]
    alias = identity.create_or_update_entity_alias("finn", canonical_id=entity, mount_accessor=accessor)["data"]["id"]
    found = [
        identity.lookup_entity(name="finn"),
        identity.lookup_entity(entity_id=entity),
        identity.lookup_entity(alias_id=alias),
        identity.lookup_entity(alias_name="finn", alias_mount_accessor=accessor),
    ]
    equal([each["data"]["id"] for each in found], [entity] * 4)
    status(identity.lookup_entity(name="nobody"), 204)


@check("identity: merge_entities")
def merge() -> None:
    identity = client().secrets.identity
    kept = identity.create_or_update_entity("kept", policies=["default"])["data"]["id"]
    other = identity.create_or_update_entity("other", policies=["reader"])["data"]["id"]
    alias = identity.create_or_update_entity_alias(
        "merged", canonical_id=other, mount_accessor=accessor_of("userpass/")
    )["data"]["id"]
    status(identity.merge_entities(from_entity_ids=[other], to_entity_id=kept), 204)
    refused(InvalidPath, lambda: identity.read_entity(other))
    merged = identity.read_entity(kept)["data"]
    equal([each["id"] for each in merged["aliases"]], [alias])
    equal(merged["merged_entity_ids"], [other])


@check("identity: groups by id and by name, and what their members may do")
def groups() -> None:
    identity = client().secrets.identity
    entity = identity.read_entity_by_name("erin-entity")["data"]["id"]
    identity.create_or_update_entity_alias("erin", canonical_id=entity, mount_accessor=accessor_of("userpass/"))
    made = identity.create_or_update_group(
        "writers", metadata={"of": "texts"}, policies=["maker"], member_entity_ids=[entity], member_group_ids=[]
    )["data"]
    read = identity.read_group(made["id"])["data"]
    contains(read, {"name": "writers", "type": "internal", "policies": ["maker"], "member_entity_ids": [entity]})
    equal(identity.read_group_by_name("writers")["data"]["id"], made["id"])
    auth = client("").auth.userpass.login("erin", "erin-password")["auth"]
    equal(auth["identity_policies"], ["maker", "reader"])
    equal(identity.read_entity(entity)["data"]["group_ids"], [made["id"]])
    identity.update_group(made["id"], "writers", policies=["default"], member_entity_ids=[entity])
    equal(identity.read_group(made["id"])["data"]["policies"], ["default"])
    named = identity.create_or_update_group_by_name("readers", policies=["reader"], member_group_ids=[made["id"]])
    holds("writers" in identity.list_groups_by_name()["data"]["keys"], "the name is not listed")
    for method in ("LIST", "GET"):
        holds(made["id"] in identity.list_groups(method=method)["data"]["keys"], "the id is not listed")
        holds("readers" in identity.list_groups_by_name(method=method)["data"]["keys"], "the name is not listed")
    equal(identity.read_group_by_name("readers")["data"]["id"], named["data"]["id"])
    status(identity.delete_group_by_name("readers"), 204)
    status(identity.delete_group(made["id"]), 204)
    refused(InvalidPath, lambda: identity.read_group(made["id"]))


@check("identity: external groups, their aliases, lookup_group")
def external_groups() -> None:
    identity = client().secrets.identity
    accessor = accessor_of("userpass/")
    group = identity.create_or_update_group("from-outside", group_type="external", policies=["reader"])["data"]["id"]
    alias = identity.create_or_update_group_alias("outer-name", mount_accessor=accessor, canonical_id=group)["data"]["id"]
    contains(identity.read_group_alias(alias)["data"], {"name": "outer-name", "canonical_id": group})
    identity.update_group_alias(alias, "outer-2", mount_accessor=accessor, canonical_id=group)
    equal(identity.read_group(group)["data"]["alias"]["name"], "outer-2")
    for method in ("LIST", "GET"):
        holds(alias in identity.list_group_aliases(method=method)["data"]["keys"], "the alias is not listed")
    found = [
        identity.lookup_group(name="from-outside"),
        identity.lookup_group(group_id=group),
        identity.lookup_group(alias_id=alias),
        identity.lookup_group(alias_name="outer-2", alias_mount_accessor=accessor),
    ]
    equal([each["data"]["id"] for each in found], [group] * 4)
    status(identity.delete_group_alias(alias), 204)
    status(identity.delete_group(group), 204)


@check("identity: mistakes are answered with 400")
def mistakes() -> None:
    identity = client().secrets.identity
    refused(
        InvalidRequest,
        lambda: identity.create_or_update_entity_alias("x", canonical_id="unknown", mount_accessor=accessor_of("userpass/")),
    )
    refused(InvalidRequest, lambda: identity.merge_entities(from_entity_ids=["unknown"], to_entity_id="unknown"))


@check("identity: signed tokens: keys, roles, a token of an entity, introspection, published keys")
def signed_tokens() -> None:
    root = client()
    identity = root.secrets.identity
    identity.create_named_key("signer", allowed_client_ids=["*"], algorithm="ES256")
    contains(identity.read_named_key("signer")["data"], {"algorithm": "ES256", "rotation_period": 86400})
    holds("signer" in identity.list_named_keys()["data"]["keys"], "the key is not listed")
    identity.create_or_update_role("of-hvac", key="signer", ttl="10m")
    role = identity.read_role("of-hvac")["data"]
    contains(role, {"key": "signer", "ttl": 600})
    equal(identity.list_roles()["data"]["keys"], ["of-hvac"])
    root.sys.create_or_update_acl_policy("signs", 'path "identity/oidc/token/*" { capabilities = ["read"] }')
    root.auth.userpass.create_or_update_user("gail", "gail-password", policies="signs")
    gail = client("")
    entity = gail.auth.userpass.login("gail", "gail-password")["auth"]["entity_id"]
    signed = gail.secrets.identity.generate_signed_id_token("of-hvac")["data"]
    contains(signed, {"client_id": role["client_id"], "ttl": 600})
    claims = json.loads(base64.urlsafe_b64decode(signed["token"].split(".")[1] + "=="))
    contains(claims, {"sub": entity, "aud": role["client_id"], "namespace": "root"})
    equal(identity.introspect_signed_id_token(signed["token"])["active"], True)
    header = json.loads(base64.urlsafe_b64decode(signed["token"].split(".")[0] + "=="))
    holds(
        header["kid"] in [key["kid"] for key in identity.read_active_public_keys()["keys"]],
        "the key that signed is not published",
    )
    holds(identity.read_well_known_configurations()["issuer"] == claims["iss"], "another issuer is published")
    identity.delete_role("of-hvac")
    identity.delete_named_key("signer")
    refused(InvalidPath, lambda: identity.read_named_key("signer"))
