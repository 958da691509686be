"""How long after the last sample of a stretch of speech its row comes, over the WebSocket of app.py.

    python3 -m research.live_delay                 # one client for two minutes
    python3 -m research.live_delay --clients 8

Clients on this machine send the voices of eval_data/, with a pause between them, as fast as they were spoken. A row
counts when it says that its stretch has ended, for which 0.3 s of pause must have been heard.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np
from websockets.sync.client import ClientConnection, connect

from research import REPOSITORY
from speech_emotion.audio.listing import find_recordings
from speech_emotion.audio.resampling import load_audio

RATE = 16_000  # Hz
PIECE_S = 0.1
PAUSE_S = 1.0  # after each voice
TOLERANCE_S = 0.1  # by which a provisional end may differ from the final one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=REPOSITORY / "model_any_voice.pt", metavar="FILE")
    parser.add_argument("--clients", type=int, default=1, metavar="N", help="at once (default: 1)")
    parser.add_argument("--seconds", type=int, default=120, metavar="N", help="of sound (default: 120)")
    options = parser.parse_args()
    command = [sys.executable, REPOSITORY / "app.py", "--port", "0", "--live", options.clients]
    command += ["--model", options.model]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().split()[1].rpartition(":")[2]
            with ThreadPoolExecutor(options.clients) as pool:
                of_clients = list(pool.map(lambda n: delays(port, sound(options.seconds, n)), range(options.clients)))
        finally:
            server.terminate()
    found = np.concatenate(of_clients)
    if not len(found):
        sys.exit("no stretch was found")
    print(
        f"{len(found)} stretches, {options.clients} at once: median {np.median(found):.2f} s, "
        f"95th percentile {np.quantile(found, 0.95):.2f} s, longest {found.max():.2f} s"
    )


def sound(seconds: float, first: int) -> bytes:
    """16-bit samples, with another voice as the first for each client."""
    voices = [load_audio(path, RATE).numpy() for path in find_recordings([REPOSITORY / "eval_data"])[0]]
    parts, length = [], 0
    for voice in cycle([*voices[first % len(voices) :], *voices[: first % len(voices)]]):
        parts += [voice, np.zeros(round(PAUSE_S * RATE))]
        length += len(parts[-1]) + len(voice)
        if length >= seconds * RATE:
            return np.round(np.concatenate(parts)[: round(seconds * RATE)] * 32_767).astype("<i2").tobytes()


def delays(port: str, pcm: bytes) -> np.ndarray:
    """Seconds from the last sample of each stretch that is sent to the first row that says that it has ended."""
    answers: list[tuple[float, dict]] = []
    with connect(f"ws://127.0.0.1:{port}/live") as live:
        live.send(json.dumps({"sample_rate": RATE}))
        reader = threading.Thread(target=read, args=(live, answers))
        reader.start()
        length, began = 2 * round(PIECE_S * RATE), time.monotonic()
        for number, start in enumerate(range(0, len(pcm), length), 1):
            time.sleep(max(0.0, began + number * PIECE_S - time.monotonic()))
            live.send(pcm[start : start + length])
        live.send('{"end": true}')
        reader.join()
    provisional, (_, final) = answers[:-1], answers[-1]
    found = []
    for stretch in final["timeline"]:
        times = (when for when, answer in provisional if any(is_of(row, stretch) for row in answer["timeline"]))
        if when := next(times, None):  # the last one may end with the recording
            found.append(when - began - stretch["end"])
    return np.array(found)


def read(live: ClientConnection, answers: list[tuple[float, dict]]) -> None:
    for message in live:
        answers.append((time.monotonic(), json.loads(message)))


def is_of(row: dict, stretch: dict) -> bool:
    """Whether a provisional row is of a stretch, and says that it has ended."""
    return row["ended"] and row["start"] < stretch["end"] and row["end"] > stretch["end"] - TOLERANCE_S


if __name__ == "__main__":
    main()
