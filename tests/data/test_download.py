"""Downloads against a server of our own: whole, resumed, corrupt, gone."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dlx.data.download import RemoteFile, fetch
from dlx.errors import CannotWriteError, DataError, MissingInputError

CONTENT = bytes(range(256)) * 40
FILE = RemoteFile("set.bin", hashlib.sha256(CONTENT).hexdigest())


@dataclass
class Server:
    """What the server does, and what it was asked."""

    url: str
    content: bytes = CONTENT
    ranges: bool = True
    cut_at: int | None = None
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            state.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            self.wfile.write(state.content[start : state.cut_at])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(server, tmp_path):
    path = fetch(FILE, tmp_path / "new", [server.url])
    assert path.read_bytes() == CONTENT
    assert fetch(FILE, tmp_path / "new", [server.url]) == path
    assert server.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["set.bin"]


def test_md5_is_supported(server, tmp_path):
    file = RemoteFile("set.bin", hashlib.md5(CONTENT).hexdigest(), "md5")
    assert fetch(file, tmp_path, [server.url]).read_bytes() == CONTENT


def test_an_interrupted_download_is_continued(server, tmp_path):
    server.cut_at = 1000
    with pytest.raises(MissingInputError, match=r"set.bin: .* 9,240 .*data.path="):
        fetch(FILE, tmp_path, [server.url])
    assert (tmp_path / "set.bin.part").stat().st_size == 1000
    server.cut_at = None
    assert fetch(FILE, tmp_path, [server.url]).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:500])
    server.ranges = False
    assert fetch(FILE, tmp_path, [server.url]).read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert fetch(FILE, tmp_path, [server.url]).read_bytes() == CONTENT


def test_a_part_of_something_else_is_thrown_away(server, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(b"x" * 500)
    assert fetch(FILE, tmp_path, [server.url]).read_bytes() == CONTENT
    assert server.asked == ["bytes=500-", None]


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(server, tmp_path):
    server.content = CONTENT + b"!"
    with pytest.raises(DataError, match=r"sha256 is .* and should be"):
        fetch(FILE, tmp_path, [server.url])
    assert not list(tmp_path.glob("set.bin*"))


def test_the_next_address_is_tried(server, tmp_path):
    assert fetch(FILE, tmp_path, ["http://127.0.0.1:9/gone", server.url]).read_bytes() == CONTENT


def test_no_network_names_every_address_and_the_way_out(tmp_path):
    with pytest.raises(MissingInputError, match=r"127.0.0.1:9/a/set.bin.*127.0.0.1:9/b/set.bin.*data.path="):
        fetch(FILE, tmp_path, ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"])


def test_a_cache_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWriteError, match="DLX_CACHE"):
        fetch(FILE, tmp_path / "file", [server.url])
