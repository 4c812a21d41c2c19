"""hvac's kv version 1 and 2: every method of client.secrets.kv.v1 and v2, and LIST over a connection kept open."""

import hvac
import requests
from hvac.exceptions import InvalidPath, InvalidRequest

from checks import check, client, contains, equal, holds, refused, status

V1 = "kv-one"
V2 = "kv-two"


@check("kv: both versions are mounted and told apart")
def mount_both() -> None:
    root = client()
    status(root.sys.enable_secrets_engine("kv", path=V1, options={"version": "1"}), 204)
    status(root.sys.enable_secrets_engine("kv", path=V2, options={"version": "2"}), 204)
    equal(root.sys.retrieve_mount_option(V1, "version"), "1")
    equal(root.sys.retrieve_mount_option(V2, "version"), "2")


@check("kv v1: write, read, list, delete")
def v1_life() -> None:
    kv = client().secrets.kv.v1
    status(kv.create_or_update_secret("app/one", {"user": "ann", "n": 3}, mount_point=V1), 204)
    status(kv.create_or_update_secret("app/one", {"user": "bob", "n": 3}, method="PUT", mount_point=V1), 204)
    kv.create_or_update_secret("app/two", {"a": None, "list": [1, "x", {"y": True}]}, method="POST", mount_point=V1)
    read = kv.read_secret("app/one", mount_point=V1)
    equal(read["data"], {"user": "bob", "n": 3})
    contains(read, {"lease_id": "", "renewable": False, "wrap_info": None, "warnings": None, "auth": None})
    equal(kv.read_secret("app/two", mount_point=V1)["data"], {"a": None, "list": [1, "x", {"y": True}]})
    equal(kv.list_secrets("app", mount_point=V1)["data"]["keys"], ["one", "two"])
    equal(kv.list_secrets("", mount_point=V1)["data"]["keys"], ["app/"])
    status(kv.delete_secret("app/one", mount_point=V1), 204)
    refused(InvalidPath, lambda: kv.read_secret("app/one", mount_point=V1))
    equal(kv.list_secrets("app", mount_point=V1)["data"]["keys"], ["two"])


@check("kv v1: numbers beyond a double's precision come back as they were written")
def v1_numbers() -> None:
    kv = client().secrets.kv.v1
    kv.create_or_update_secret("numbers", {"big": 9007199254740993}, mount_point=V1)
    equal(kv.read_secret("numbers", mount_point=V1)["data"]["big"], 9007199254740993)


@check("kv v1: the client's plain read, write, list and delete")
def v1_plain() -> None:
    root = client()
    status(root.write_data(f"{V1}/plain/a", data={"value": "1"}), 204)
    equal(root.read(f"{V1}/plain/a")["data"], {"value": "1"})
    equal(root.list(f"{V1}/plain")["data"]["keys"], ["a"])
    root.delete(f"{V1}/plain/a")
    # hvac turns a missing secret and an empty list into None.
    equal(root.read(f"{V1}/plain/a"), None)
    equal(root.list(f"{V1}/plain"), None)


@check("kv v2: configure, read_configuration")
def v2_configuration() -> None:
    kv = client().secrets.kv.v2
    status(kv.configure(max_versions=5, cas_required=False, delete_version_after="3h", mount_point=V2), 204)
    contains(
        kv.read_configuration(mount_point=V2)["data"],
        {"max_versions": 5, "cas_required": False, "delete_version_after": "3h0m0s"},
    )
    # The larger of the mount's and the key's limit counts, so the mount has none for the checks that follow.
    status(kv.configure(max_versions=0, delete_version_after="0s", mount_point=V2), 204)


@check("kv v2: create_or_update_secret, read_secret, read_secret_version")
def v2_versions() -> None:
    kv = client().secrets.kv.v2
    first = kv.create_or_update_secret("app/db", {"password": "one"}, mount_point=V2)
    contains(first["data"], {"version": 1, "deletion_time": "", "destroyed": False, "custom_metadata": None})
    equal(kv.create_or_update_secret("app/db", {"password": "two"}, mount_point=V2)["data"]["version"], 2)
    newest = kv.read_secret("app/db", mount_point=V2, raise_on_deleted_version=True)["data"]
    equal(newest["data"], {"password": "two"})
    contains(newest["metadata"], {"version": 2, "destroyed": False})
    old = kv.read_secret_version("app/db", version=1, mount_point=V2, raise_on_deleted_version=True)["data"]
    equal(old["data"], {"password": "one"})
    refused(
        InvalidPath,
        lambda: kv.read_secret_version("app/db", version=9, mount_point=V2, raise_on_deleted_version=True),
    )


@check("kv v2: check-and-set")
def v2_check_and_set() -> None:
    kv = client().secrets.kv.v2
    equal(kv.create_or_update_secret("cas", {"a": 1}, cas=0, mount_point=V2)["data"]["version"], 1)
    again = refused(InvalidRequest, lambda: kv.create_or_update_secret("cas", {"a": 2}, cas=0, mount_point=V2))
    holds("did not match the current version" in str(again), str(again))
    equal(kv.create_or_update_secret("cas", {"a": 2}, cas=1, mount_point=V2)["data"]["version"], 2)
    status(kv.update_metadata("strict", cas_required=True, mount_point=V2), 204)
    missing = refused(InvalidRequest, lambda: kv.create_or_update_secret("strict", {"a": 1}, mount_point=V2))
    holds("check-and-set parameter required" in str(missing), str(missing))


@check("kv v2: patch reads, merges and writes with check-and-set")
def v2_patch() -> None:
    kv = client().secrets.kv.v2
    kv.create_or_update_secret("patched", {"a": "1", "b": "2"}, mount_point=V2)
    equal(kv.patch("patched", {"b": "3", "c": "4"}, mount_point=V2)["data"]["version"], 2)
    read = kv.read_secret("patched", mount_point=V2, raise_on_deleted_version=True)
    equal(read["data"]["data"], {"a": "1", "b": "3", "c": "4"})
    refused(InvalidPath, lambda: kv.patch("no/such", {"a": "1"}, mount_point=V2))


@check("kv v2: delete_latest_version_of_secret, and what a deleted version still says")
def v2_delete_latest() -> None:
    kv = client().secrets.kv.v2
    kv.create_or_update_secret("gone", {"a": "1"}, mount_point=V2)
    status(kv.delete_latest_version_of_secret("gone", mount_point=V2), 204)
    refused(InvalidPath, lambda: kv.read_secret("gone", mount_point=V2, raise_on_deleted_version=True))
    told = kv.read_secret("gone", mount_point=V2, raise_on_deleted_version=False)["data"]
    equal(told["data"], None)
    contains(told["metadata"], {"version": 1, "destroyed": False})
    holds(told["metadata"]["deletion_time"] != "", "a deleted version has no deletion_time")
    equal(kv.create_or_update_secret("gone", {"a": "2"}, mount_point=V2)["data"]["version"], 2)


@check("kv v2: delete_secret_versions, undelete_secret_versions, destroy_secret_versions")
def v2_delete_versions() -> None:
    kv = client().secrets.kv.v2
    for value in ("1", "2", "3"):
        kv.create_or_update_secret("many", {"v": value}, mount_point=V2)
    status(kv.delete_secret_versions("many", versions=[1, 2], mount_point=V2), 204)
    status(kv.undelete_secret_versions("many", versions=[1], mount_point=V2), 204)
    status(kv.destroy_secret_versions("many", versions=[2], mount_point=V2), 204)
    equal(kv.read_secret_version("many", 1, V2, raise_on_deleted_version=True)["data"]["data"], {"v": "1"})
    versions = kv.read_secret_metadata("many", mount_point=V2)["data"]["versions"]
    equal({key: each["destroyed"] for key, each in versions.items()}, {"1": False, "2": True, "3": False})
    equal(versions["1"]["deletion_time"], "")


@check("kv v2: update_metadata, read_secret_metadata, delete_metadata_and_all_versions")
def v2_metadata() -> None:
    kv = client().secrets.kv.v2
    kv.create_or_update_secret("described", {"a": "1"}, mount_point=V2)
    answer = kv.update_metadata(
        "described",
        max_versions=2,
        cas_required=False,
        delete_version_after="30m",
        custom_metadata={"owner": "ann"},
        mount_point=V2,
    )
    status(answer, 204)
    metadata = kv.read_secret_metadata("described", mount_point=V2)["data"]
    contains(metadata, {"max_versions": 2, "delete_version_after": "30m0s", "custom_metadata": {"owner": "ann"}})
    contains(metadata, {"current_version": 1, "oldest_version": 0})
    for value in ("2", "3"):
        kv.create_or_update_secret("described", {"a": value}, mount_point=V2)
    equal(sorted(kv.read_secret_metadata("described", mount_point=V2)["data"]["versions"]), ["2", "3"])
    status(kv.delete_metadata_and_all_versions("described", mount_point=V2), 204)
    refused(InvalidPath, lambda: kv.read_secret_metadata("described", mount_point=V2))


@check("kv v2: list_secrets")
def v2_list() -> None:
    kv = client().secrets.kv.v2
    for path in ("tree/b", "tree/a", "tree/a/deep", "tree/ü ber"):
        kv.create_or_update_secret(path, {"x": "1"}, mount_point=V2)
    equal(kv.list_secrets("tree", mount_point=V2)["data"]["keys"], ["a", "a/", "b", "ü ber"])
    refused(InvalidPath, lambda: kv.list_secrets("no/such", mount_point=V2))


@check("kv v2: a path without data/ is answered with a warning that names the mistake")
def v2_wrong_path() -> None:
    error = refused(InvalidPath, lambda: client().adapter.get(f"/v1/{V2}/app/db"))
    holds("Invalid path for a versioned K/V secrets engine" in (error.text or ""), error.text)


@check("LIST: the verb itself, many times over one connection kept open, between other requests")
def list_over_keep_alive() -> None:
    session = requests.Session()
    lister = client(session=session)
    lister.secrets.kv.v1.create_or_update_secret("kept/a", {"x": "1"}, mount_point=V1)
    for number in range(30):
        equal(lister.secrets.kv.v1.list_secrets("kept", mount_point=V1)["data"]["keys"], ["a"])
        if number % 3 == 0:
            equal(lister.secrets.kv.v1.read_secret("kept/a", mount_point=V1)["data"], {"x": "1"})
        if number % 5 == 0:
            refused(InvalidPath, lambda: lister.secrets.kv.v1.list_secrets("none", mount_point=V1))
    pools = session.get_adapter(lister.url).poolmanager.pools
    equal([pools[key].num_connections for key in pools.keys()], [1])


@check("LIST: strict_http asks by GET and list=true")
def list_strict() -> None:
    strict = client(strict_http=True)
    equal(strict.secrets.kv.v1.list_secrets("kept", mount_point=V1)["data"]["keys"], ["a"])


@check("kv: clean up by unmounting")
def unmount_both() -> None:
    root = client()
    status(root.sys.disable_secrets_engine(V1), 204)
    status(root.sys.disable_secrets_engine(V2), 204)
    refused(hvac.exceptions.InvalidPath, lambda: root.secrets.kv.v1.read_secret("numbers", mount_point=V1))
