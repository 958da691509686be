"""The form of a request → its fields, and its recordings as files with names chosen by the server."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from speech_emotion.serving.limits import MEGABYTE, Limits


@dataclass
class Upload:
    name: str  # given by the client; only used in its answer
    path: Path
    size: int = 0  # bytes
    is_too_large: bool = False


class Form:
    """A form and its `fields`, with its `uploads` in `folder`; those that are too large are stored as empty files.

    >>> form = Form(folder, Limits())
    >>> await form.receive(request)
    """

    def __init__(self, folder: Path, limits: Limits):
        self.folder, self.limits = folder, limits
        self.fields: dict[str, str] = {}
        self.uploads: list[Upload] = []
        self._is_whole = False

    async def receive(self, request: Request) -> None:
        """Read the form. Raises HTTPException if it is invalid, or larger than the limits."""
        kind, parameters = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data" or not parameters.get(b"boundary"):
            raise _refusal(422, "send a multipart/form-data form with recordings as `files`")
        most = self.limits.request_mb * MEGABYTE
        if int(request.headers.get("content-length", 0)) > most:
            raise self._too_large()
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "end")
        callbacks = {f"on_{name}": getattr(self, f"_on_{name}") for name in (*names, "headers_finished")}
        n_bytes = 0
        try:
            parser = MultipartParser(parameters[b"boundary"], callbacks)
            async for chunk in request.stream():
                n_bytes += len(chunk)
                if n_bytes > most:
                    raise self._too_large()
                parser.write(chunk)
        except FormParserError:
            self._is_whole = False
        except OSError as error:
            raise _refusal(507, f"cannot store the recordings: {error.strerror}") from error
        finally:
            self._close()
        if not self._is_whole:
            raise _refusal(422, "the form is damaged or incomplete")
        if not self.uploads:
            raise _refusal(422, "there is no recording in the form; send recordings as `files`")

    def _on_part_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value, self._data = b"", b"", bytearray()
        self._file = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._field = _text(options.get(b"name", b""))
        if b"filename" not in options:
            if len(self.fields) == self.limits.fields:
                raise _refusal(422, f"a form has at most {self.limits.fields} fields")
            return
        if len(self.uploads) == self.limits.files:
            raise _refusal(413, f"a request has at most {self.limits.files} recordings")
        path = self.folder / str(len(self.uploads))
        self.uploads.append(Upload(_text(options[b"filename"]), path))
        self._file = path.open("xb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._data += data[start:end]
            if len(self._data) > self.limits.field_bytes:
                raise _refusal(413, f"a field has at most {self.limits.field_bytes} bytes")
            return
        upload = self.uploads[-1]
        upload.size += end - start
        if upload.size <= self.limits.recording_mb * MEGABYTE:
            self._file.write(data[start:end])
        elif not upload.is_too_large:
            upload.is_too_large = True
            self._file.truncate(0)

    def _on_part_end(self) -> None:
        if self._file is None:
            self.fields[self._field] = _text(bytes(self._data))
        self._close()

    def _on_end(self) -> None:
        self._is_whole = True

    def _close(self) -> None:
        if getattr(self, "_file", None):
            self._file.close()
            self._file = None

    def _too_large(self) -> HTTPException:
        return _refusal(413, f"a request has at most {self.limits.request_mb} MB")


def _refusal(status: int, sentence: str) -> HTTPException:
    return HTTPException(status, sentence)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
