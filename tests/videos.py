"""Videos that tests make themselves, and a server that streams one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NTSC = Fraction(30_000, 1_001)


def make_video(
    path: Path,
    frames: list[np.ndarray],
    *,
    rate: Fraction = NTSC,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rotation: float = 0,
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
    format: str | None = None,
) -> Path:
    """Write frames (H, W, 3; uint8, RGB) as a video; with ``times``, in hundredths of a second, of variable rate."""
    with av.open(str(path), "w", format, container_options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if times:
            stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def noise(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames that no encoder makes small."""
    generator = np.random.default_rng(0)
    return list(generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def cut(path: Path, share: float) -> Path:
    """Keep so much of a file's beginning."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


@contextmanager
def rtsp_server(frames: list[np.ndarray], *, hang: bool = False) -> Iterator[int]:
    """Serve frames by RTSP over TCP, then break the connection off or say nothing more; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=_talk, args=(connection, frames, hang, over), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)


def _talk(connection: socket.socket, frames: list[np.ndarray], hang: bool, over: threading.Event) -> None:
    lines = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 0.0.0.0", "t=0 0", "m=video 0 RTP/AVP 96")
    description = "\r\n".join((*lines, "a=rtpmap:96 H264/90000", "a=control:track", ""))
    answers = {
        "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY", ""),
        "DESCRIBE": (f"Content-Type: application/sdp\r\nContent-Length: {len(description)}", description),
        "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1", ""),
        "PLAY": ("Session: 1", ""),
    }
    with connection, connection.makefile("rb") as asked:
        while request := asked.readline().decode().split():
            headers = {}
            while line := asked.readline().decode().strip():
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            if request[0] not in answers:
                return
            header, body = answers[request[0]]
            connection.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{header}\r\n\r\n{body}".encode())
            if request[0] == "PLAY":
                _send(connection, frames)
                if hang:
                    over.wait()
                return


def _send(connection: socket.socket, frames: list[np.ndarray]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.bind(("127.0.0.1", 0))
        packets.setblocking(False)

        def relay() -> None:
            while True:
                try:
                    packet = packets.recv(65_536)
                except BlockingIOError:
                    return
                connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)

        address = f"rtp://127.0.0.1:{packets.getsockname()[1]}?pkt_size=1300"
        with av.open(address, "w", "rtp") as container:
            options = {"tune": "zerolatency", "x264-params": "repeat-headers=1:keyint=5"}
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for image in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                relay()
            container.mux(stream.encode())
            relay()
