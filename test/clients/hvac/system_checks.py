"""hvac's client.sys: mounts, audit devices, health and status, the encryption key, quotas."""

import json
import os

from hvac.exceptions import InvalidPath, InvalidRequest

from checks import FOLDER, check, client, contains, equal, eventually, holds, refused, status


@check("mounts: enable, list, tune, move, disable")
def mounts() -> None:
    root = client()
    enabled = root.sys.enable_secrets_engine(
        "kv", path="team/kv", description="of a team", options={"version": "2"}, seal_wrap=False,
        config={"default_lease_ttl": "1h", "max_lease_ttl": "24h", "force_no_cache": True},
    )
    status(enabled, 204)
    listed = root.sys.list_mounted_secrets_engines()
    contains(listed["data"]["team/kv/"], {"type": "kv", "description": "of a team", "options": {"version": "2"}})
    contains(listed["team/kv/"]["config"], {"default_lease_ttl": 3600, "max_lease_ttl": 86400, "force_no_cache": True})
    holds(listed["data"]["team/kv/"]["accessor"].startswith("kv_"), "the accessor does not name the type")
    tuned = root.sys.tune_mount_configuration(
        "team/kv", default_lease_ttl="2h", description="of the team", listing_visibility="unauth",
        audit_non_hmac_request_keys=["plain"],
    )
    status(tuned, 204)
    read = root.sys.read_mount_configuration("team/kv")["data"]
    contains(read, {"default_lease_ttl": 7200, "description": "of the team", "listing_visibility": "unauth"})
    contains(read, {"audit_non_hmac_request_keys": ["plain"], "options": {"version": "2"}})
    refused(InvalidRequest, lambda: root.sys.enable_secrets_engine("kv", path="team/kv"))
    refused(InvalidRequest, lambda: root.sys.enable_secrets_engine("no-such-engine"))
    root.secrets.kv.v2.create_or_update_secret("kept", {"a": "1"}, mount_point="team/kv")
    moved = root.sys.move_backend("team/kv", "other/kv")
    contains(moved["data"], {"migration_id": moved["data"]["migration_id"]})

    def has_moved() -> bool:
        done = root.read(f"sys/remount/status/{moved['data']['migration_id']}")["data"]["migration_info"]
        return done["status"] == "success"

    eventually(has_moved, "the mount has moved")
    kept = root.secrets.kv.v2.read_secret("kept", mount_point="other/kv", raise_on_deleted_version=True)
    equal(kept["data"]["data"], {"a": "1"})
    status(root.sys.disable_secrets_engine("other/kv"), 204)
    status(root.sys.disable_secrets_engine("other/kv"), 204)


@check("mounts: sys/internal/ui/mounts tells the version of kv, as clients of kv ask it")
def preflight() -> None:
    root = client()
    root.sys.enable_secrets_engine("kv", path="asked", options={"version": "2"})
    contains(root.read("sys/internal/ui/mounts/asked/some/secret")["data"], {"path": "asked/", "type": "kv"})
    equal(root.read("sys/internal/ui/mounts/asked")["data"]["options"], {"version": "2"})
    root.sys.disable_secrets_engine("asked")


@check("audit: enable_audit_device, list_enabled_audit_devices, calculate_hash, disable_audit_device")
def audit() -> None:
    root = client()
    file = os.path.join(FOLDER, "audit.log")
    status(root.sys.enable_audit_device("file", description="of a test", options={"file_path": file}, path="of-hvac"), 204)
    listed = root.sys.list_enabled_audit_devices()
    contains(listed["data"]["of-hvac/"], {"type": "file", "description": "of a test", "path": "of-hvac/"})
    equal(listed["of-hvac/"]["options"]["file_path"], file)
    secret = root.auth.token.create(policies=["default"])["auth"]["client_token"]
    client(secret).auth.token.lookup_self()
    hashed = root.sys.calculate_hash("of-hvac", secret)
    equal(hashed["data"]["hash"], hashed["hash"])
    holds(hashed["hash"].startswith("hmac-sha256:"), hashed["hash"])
    status(root.sys.disable_audit_device("of-hvac"), 204)
    holds("of-hvac/" not in root.sys.list_enabled_audit_devices()["data"], "it is still listed")
    with open(file, encoding="utf-8") as lines:
        text = lines.read()
    entries = [json.loads(line) for line in text.splitlines()]
    of_token = [each for each in entries if each.get("auth", {}).get("client_token") == hashed["hash"]]
    equal({each["type"] for each in of_token}, {"request", "response"})
    holds(secret not in text, "the file has a token in clear")
    refused(InvalidRequest, lambda: root.sys.enable_audit_device("no-such-device"))


@check("health: by HEAD and by GET, with codes of one's own")
def health() -> None:
    root = client()
    status(root.sys.read_health_status(), 200)
    contains(root.sys.read_health_status(method="GET"), {"initialized": True, "sealed": False, "standby": False})
    # By HEAD hvac sends no codes.
    status(client("").sys.read_health_status(method="GET", active_code=299), 299)


@check("status: is_initialized, is_sealed, read_seal_status, read_leader_status, ha_status")
def seal_status() -> None:
    anyone = client("")
    equal(anyone.sys.is_initialized(), True)
    equal(anyone.sys.is_sealed(), False)
    equal(anyone.seal_status["sealed"], False)
    contains(anyone.sys.read_seal_status(), {"type": "shamir", "sealed": False, "t": 1, "n": 1, "progress": 0})
    holds("ha_enabled" in anyone.sys.read_leader_status(), "no ha_enabled")
    already = refused(InvalidRequest, lambda: anyone.sys.initialize(secret_shares=1, secret_threshold=1))
    holds("already initialized" in str(already), str(already))


@check("encryption key: get_encryption_key_status, rotate_encryption_key")
def encryption_key() -> None:
    root = client()
    before = root.sys.get_encryption_key_status()
    equal(before["data"]["term"], before["term"])
    status(root.sys.rotate_encryption_key(), 204)
    equal(root.sys.get_encryption_key_status()["data"]["term"], before["term"] + 1)
    holds(root.key_status["term"] == before["term"] + 1, "the client's property has another term")


@check("quotas: create_or_update_quota, read_quota, list_quotas, delete_quota")
def quotas() -> None:
    root = client()
    status(root.sys.create_or_update_quota("of-hvac", rate=5000, interval="1m", block_interval="2m"), 204)
    contains(root.sys.read_quota("of-hvac")["data"], {"name": "of-hvac", "rate": 5000, "interval": 60})
    holds("of-hvac" in root.sys.list_quotas()["data"]["keys"], "the quota is not listed")
    status(root.sys.delete_quota("of-hvac"), 204)
    refused(InvalidPath, lambda: root.sys.read_quota("of-hvac"))


@check("snapshots: take_raft_snapshot, restore_raft_snapshot, force_restore_raft_snapshot")
def snapshots() -> None:
    root = client()
    root.sys.create_or_update_policy("kept", 'path "kept" { capabilities = ["read"] }')
    taken = root.sys.take_raft_snapshot()
    status(taken, 200)
    root.sys.delete_policy("kept")
    status(root.sys.restore_raft_snapshot(taken.content), 204)
    holds("kept" in root.sys.read_policy("kept")["data"]["rules"], "the policy is not back")
    refused(InvalidRequest, lambda: root.sys.restore_raft_snapshot(taken.content[:-20]))
    root.sys.delete_policy("kept")
    status(root.sys.force_restore_raft_snapshot(taken.content), 204)
    holds("kept" in root.sys.read_policy("kept")["data"]["rules"], "the policy is not back")


@check("cubbyhole: each token has one of its own")
def cubbyhole() -> None:
    root = client()
    mine, other = (client(root.auth.token.create(policies=["default"])["auth"]["client_token"]) for _ in range(2))
    status(mine.write_data("cubbyhole/a", data={"x": "1"}), 204)
    equal(mine.read("cubbyhole/a")["data"], {"x": "1"})
    equal(other.read("cubbyhole/a"), None)
    equal(mine.list("cubbyhole")["data"]["keys"], ["a"])


@check("read, write_data and list answer unknown paths as hvac expects")
def unknown_paths() -> None:
    root = client()
    equal(root.read("no/such/mount"), None)
    refused(InvalidPath, lambda: root.write_data("no/such/mount", data={"a": "1"}))
