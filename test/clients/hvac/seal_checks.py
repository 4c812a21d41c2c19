"""hvac's seal, unseal, root generation and rekey. They act on the whole server, so they run when all else has."""

import base64

from hvac.exceptions import InvalidRequest, VaultDown

from checks import UNSEAL_KEY, check, client, contains, equal, eventually, holds, refused, status


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


@check("root token: start_root_token_generation, generate_root, cancel_root_generation")
def generate_root() -> None:
    root = client()
    length = root.sys.read_root_generation_progress()["otp_length"]
    otp = "x" * length
    cancelled = root.sys.start_root_token_generation(otp=otp)
    contains(cancelled, {"started": True, "progress": 0, "required": 1, "complete": False})
    status(root.sys.cancel_root_generation(), 204)
    equal(root.sys.read_root_generation_progress()["started"], False)
    nonce = root.sys.start_root_token_generation(otp=otp)["nonce"]
    refused(InvalidRequest, lambda: root.sys.generate_root(UNSEAL_KEY, "another nonce"))
    done = root.sys.generate_root(UNSEAL_KEY, nonce)
    contains(done, {"progress": 1, "complete": True})
    encoded = base64.b64decode(done["encoded_root_token"] + "==")
    token = bytes(each ^ ord("x") for each in encoded).decode()
    equal(client(token).auth.token.lookup_self()["data"]["policies"], ["root"])
    status(client(token).auth.token.revoke_self(), 204)


@check("rekey: start_rekey with verification, rekey_multi, rekey_verify_multi, and the new shares unseal")
def rekey() -> None:
    root = client()
    started = root.sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)
    contains(started, {"started": True, "t": 2, "n": 3, "progress": 0, "required": 1, "verification_required": True})
    equal(root.sys.read_rekey_progress()["nonce"], started["nonce"])
    status(root.sys.cancel_rekey(), 204)
    nonce = root.sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)["nonce"]
    done = root.sys.rekey_multi([UNSEAL_KEY], nonce=nonce)
    shares = done["keys_base64"]
    equal(len(shares), 3)
    contains(root.sys.read_rekey_verify_progress(), {"nonce": done["verification_nonce"], "t": 2, "n": 3})
    verified = root.sys.rekey_verify_multi(shares[:2], nonce=done["verification_nonce"])
    equal(verified["complete"], True)
    root.sys.seal()
    holds(root.sys.submit_unseal_key(shares[2])["sealed"], "one share of two was enough")
    equal(root.sys.submit_unseal_key(shares[0])["sealed"], False)
    eventually(lambda: root.sys.read_health_status().status_code == 200, "the server serves again")
