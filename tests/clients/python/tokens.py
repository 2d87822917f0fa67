"""Prints a JSON Web Token for `joe`, signed with JWT_SECRET (HS256), that holds for an hour."""

import base64
import hashlib
import hmac
import json
import os
import time


def part(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def token(authid, seconds):
    claims = {
        "iss": "https://login.example.org",
        "aud": "wamp",
        "sub": authid,
        "exp": int(time.time()) + seconds,
    }
    signed = ".".join(part(json.dumps(each).encode()) for each in [{"alg": "HS256"}, claims])
    key = os.environ["JWT_SECRET"].encode()
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


if __name__ == "__main__":
    print(token("joe", 3600))
