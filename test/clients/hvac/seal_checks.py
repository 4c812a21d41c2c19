"""hvac's seal, submit_unseal_key and root generation. They act on the whole server, so they run when all else has."""

from hvac.exceptions import InvalidRequest, VaultDown

from checks import UNSEAL_KEY, check, client, contains, equal, eventually, refused, status


@check("seal: seal, what a sealed server answers, submit_unseal_key with a wrong and the right share")
def seal() -> None:
    root = client()
    status(root.sys.seal(), 204)
    equal(root.sys.is_sealed(), True)
    refused(VaultDown, lambda: root.sys.list_mounted_secrets_engines())
    status(root.sys.read_health_status(), 503)
    refused(InvalidRequest, lambda: root.sys.submit_unseal_key("not a key"))
    contains(root.sys.submit_unseal_key(UNSEAL_KEY), {"sealed": False, "t": 1, "n": 1, "progress": 0})
    eventually(lambda: root.sys.read_health_status().status_code == 200, "the server serves again")
    equal(root.is_authenticated(), True)


@check("seal: submit_unseal_keys and unseal_reset")
def unseal_many() -> None:
    root = client()
    root.sys.seal()
    contains(root.sys.submit_unseal_key(reset=True), {"sealed": True, "progress": 0})
    equal(root.sys.submit_unseal_keys([UNSEAL_KEY])["sealed"], False)
    eventually(lambda: root.sys.read_health_status().status_code == 200, "the server serves again")
