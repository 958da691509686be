"""As much of S3 as it takes to list buckets, which are folders, and to read from them."""

import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def serve(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which the folders in `folder` are buckets."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_EC2_METADATA_DISABLED": "true"}
    yield {**os.environ, **keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send_head(self):
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        path = Path(self.translate_path(address.path))
        if "list-type" in query:
            self.path = self._list(path, query.get("prefix", [""])[0])
        elif path.is_dir():
            return self.send_error(404)
        return super().send_head()

    def _list(self, bucket: Path, prefix: str) -> str:
        files = {str(path.relative_to(bucket)): path for path in sorted(bucket.rglob("*")) if path.is_file()}
        contents = [
            f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size></Contents>"
            for key, path in files.items()
            if key.startswith(prefix)
        ]
        answer = Path(self.directory, "list.xml")
        answer.write_text(
            f"<ListBucketResult><KeyCount>{len(contents)}</KeyCount>{''.join(contents)}</ListBucketResult>",
            encoding="utf-8",
        )
        return f"/{answer.name}"

    def log_message(self, *_):
        pass
