"""Puts a real picture into half of the request bodies that schemathesis makes.

Without it no request has an answer, since no random bytes are an image.
"""

import base64
import os
from pathlib import Path

import schemathesis

PICTURE = Path(os.environ["MOEKIT_PICTURE"]).read_bytes()


@schemathesis.hook
def map_body(_context, body):
    """A body as it is, or with a real picture in the place of its first image."""
    if isinstance(body, dict) and isinstance(body.get("image"), str) and len(repr(body)) % 2:
        return {**body, "kit": "kit", "image": base64.b64encode(PICTURE).decode()}
    images = body.get("images") if isinstance(body, dict) else None
    if not isinstance(images, list) or not images or len(repr(body)) % 2:
        return body
    first = PICTURE if isinstance(images[0], bytes) else base64.b64encode(PICTURE).decode()
    return {**body, "images": [first, *images[1:]]}


@schemathesis.hook
def filter_failure(_context, failure, case, _response):
    """Whether a failure counts: not that a list of one is taken for its element, or an empty one
    for none. In a form they are the same bytes.
    """
    body = case.body if isinstance(case.body, dict) else {}
    in_form = str(case.media_type).startswith("multipart/")
    listed = isinstance(body.get("deadline_s"), list) and len(body["deadline_s"]) <= 1
    return not (in_form and listed and "ST201" in failure.code)
