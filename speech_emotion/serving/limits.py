"""Limits for clients, so that none can block the others."""

from dataclasses import dataclass

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    recording_mb: int = 200
    recording_minutes: int = 10
    requests: int = 64  # being sent, waiting or being answered; further ones are refused with 503
    silence_s: int = 20  # without a byte in the middle of a request
    request_s: int = 600  # for a request to arrive
    request_mb: int = 1000
    files: int = 100  # per request
    channels: int = 16  # if each is classified
    fields: int = 10
    field_bytes: int = 1000
    connections: int = 500
    live: int = 8  # live recordings at once; 10 minutes at 48 kHz need 58 MB of memory
    live_rates: tuple[int, int] = (8_000, 48_000)  # Hz
    message_bytes: int = 2**20
