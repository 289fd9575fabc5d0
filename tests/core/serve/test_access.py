"""Who may ask, from where, and what is refused before a server starts."""

import json
import shutil
import socket
import ssl
import subprocess
import sys

import pytest

from moekit.sealed import write_sealed
from moekit.serve import libraries
from moekit.serve.options import ServeOptions
from moekit.serve.server import bound_socket
from moekit.serve.tokens import Tokens
from moekit.testing import refused

TOKEN = "a-token-of-the-tests-0123456789"
PROTECTED = ("/v1/kits", "/metrics")


def code(reply, status):
    assert reply.status_code == status, reply.text
    return reply.json()["error"]["code"]


@pytest.fixture
def quick(slow):
    slow.free.set()
    return slow


def test_a_missing_or_wrong_token_is_refused(serve, quick):
    served = serve(quick, token=TOKEN)
    for header in (None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
        headers = {} if header is None else {"Authorization": header}
        for path in PROTECTED:
            reply = served.client.get(path, headers=headers)
            assert code(reply, 401) == "usage/no-token", header
            assert reply.headers["WWW-Authenticate"] == "Bearer"
        files = [("images", b"x")]
        reply = served.client.post("/v1/answer", files=files, headers=headers)
        assert code(reply, 401) == "usage/no-token"
    assert not quick.calls
    assert served.client.get("/healthz").status_code == 200
    assert served.client.get("/readyz").status_code == 200


def test_a_right_token_is_taken(serve, quick):
    served = serve(quick, token=TOKEN)
    served.client.headers["Authorization"] = f"Bearer {TOKEN}"
    assert [served.client.get(path).status_code for path in PROTECTED] == [200, 200]
    assert served.ask(b"x").status_code == 200


def test_each_token_of_a_file_is_taken(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# two\n{TOKEN}\n\n  {TOKEN}-2  \n")
    tokens = Tokens.read(path)
    assert [tokens.allow(f"Bearer {TOKEN}{end}") for end in ("", "-2", "-3")] == [True, True, False]
    assert tokens.allow(f"bearer  {TOKEN}")
    assert not tokens.allow("Bearer \udcff")


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", f"{TOKEN} two\n", f"{TOKEN}ä\n"])
def test_a_token_file_without_usable_tokens_is_refused(tmp_path, text):
    path = tmp_path / "tokens"
    path.write_text(text)
    with refused("usage/bad-token-file") as caught:
        Tokens.read(path)
    assert TOKEN not in str(caught.value)
    with refused("usage/bad-token-file"):
        Tokens.read(tmp_path / "none")


def test_another_host_needs_tokens_or_a_word_that_it_need_not():
    assert ServeOptions().host == "127.0.0.1"
    for host in ("localhost", "::1", "127.0.0.2"):
        ServeOptions(host=host)
    for host in ("0.0.0.0", "::", "192.168.0.1", "line.example", ""):
        with refused("usage/unprotected"):
            ServeOptions(host=host)
        ServeOptions(host=host, unprotected=True)


def test_pages_of_other_sites_may_not_ask_a_server_without_tokens(serve, quick):
    served = serve(quick)
    for headers, status, expected in (
        ({"Host": "evil.example"}, 421, "usage/other-host"),
        ({"Host": "evil.example:8040"}, 421, "usage/other-host"),
        ({"Host": "["}, 421, "usage/other-host"),
        ({"Origin": "https://evil.example"}, 403, "usage/other-origin"),
        ({"Origin": "null"}, 403, "usage/other-origin"),
    ):
        assert code(served.client.get("/v1/kits", headers=headers), status) == expected
    for headers in (
        {"Host": "localhost:8040"},
        {"Host": "[::1]:8040"},
        {"Host": "localhost:8040", "Origin": "http://localhost:8040"},
    ):
        assert served.client.get("/v1/kits", headers=headers).status_code == 200
    open_to_all = serve(quick, unprotected=True)
    reply = open_to_all.client.get("/v1/kits", headers={"Host": "line.example"})
    assert reply.status_code == 200


def test_no_other_site_may_read_answers_unless_it_is_named(serve, quick):
    asked = {"Origin": "https://line.example", "Access-Control-Request-Method": "POST"}
    closed = serve(quick, token=TOKEN).client
    assert "access-control-allow-origin" not in closed.options("/v1/answer", headers=asked).headers
    served = serve(quick, cors=("https://line.example",))
    allowed = served.client.options("/v1/answer", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://line.example"
    reply = served.client.get("/v1/kits", headers={"Origin": "https://line.example"})
    assert reply.headers["access-control-allow-origin"] == "https://line.example"
    other = served.client.options("/v1/answer", headers={**asked, "Origin": "https://other"})
    assert "access-control-allow-origin" not in other.headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


def test_files_that_make_no_certificate_are_refused(certificate, tmp_path):
    cert, key = certificate
    ServeOptions(tls_cert=cert, tls_key=key)
    for wrong in (
        {"tls_cert": cert},
        {"tls_cert": key, "tls_key": key},
        {"tls_cert": tmp_path / "none.pem", "tls_key": key},
    ):
        with refused("usage/bad-certificate"):
            ServeOptions(**wrong)
    with refused("usage/option-conflict"):
        ServeOptions(tls_key=key)


def test_a_server_with_a_certificate_and_tokens_answers_its_client(
    start_process, certificate, token_file, folder, moekit, monkeypatch
):
    cert, key = certificate
    process = start_process(
        "all", options=("--tls-cert", cert, "--tls-key", key, "--token-file", token_file)
    )
    assert process.url.startswith("https://127.0.0.1:")
    image = folder / "parts" / "good" / "00.png"
    ask = ("client", process.url, image, "--json")
    refused_one = moekit(*ask, "--token-file", token_file)
    assert refused_one.code == 1
    assert "error/no-server" in refused_one.err, "its certificate is not known here"
    context = ssl.create_default_context(cafile=cert)
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: context)
    monkeypatch.setattr(ssl, "_create_default_https_context", lambda *_, **__: context)
    assert "usage/no-token" in moekit(*ask).err
    (entry,) = moekit(*ask, "--token-file", token_file).json["answers"]
    assert set(entry["answers"]) == {"all"}
    assert TOKEN not in process.log


def test_a_port_that_is_taken_is_told():
    with bound_socket("127.0.0.1", 0) as taken:
        # Only then does asyncio send without delay; else each answer comes 40 ms later.
        assert taken.proto == socket.IPPROTO_TCP
        taken.listen()
        with refused("usage/cannot-listen"):
            bound_socket("127.0.0.1", taken.getsockname()[1])
    with refused("usage/cannot-listen"):
        bound_socket("no such host", 0)


def test_a_missing_library_names_the_extra(monkeypatch, moekit, folder):
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    with refused("usage/not-installed") as caught:
        libraries.check_libraries()
    assert 'pip install -e "core[serve]"' in caught.value.fix
    outcome = moekit("serve", folder / "all")
    assert outcome.code == 2
    assert "usage/not-installed" in outcome.err


def test_a_server_for_runs_of_several_backbones_is_refused(moekit, folder, tmp_path):
    text = (folder / "all" / "run.json").read_text()
    (tmp_path / "foreign").mkdir()
    changed = text.replace("vit_tiny_patch16_224", "vit_small_patch16_224")
    write_sealed(tmp_path / "foreign" / "run.json", json.loads(changed))
    outcome = moekit("serve", folder / "all", tmp_path / "foreign", "--port", 0)
    assert outcome.code == 2
    assert "usage/other-backbone" in outcome.err
    outcome = moekit("serve", folder / "all", "--host", "0.0.0.0", "--port", 0)
    assert outcome.code == 2
    assert "usage/unprotected" in outcome.err
