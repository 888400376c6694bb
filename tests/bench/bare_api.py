"""A FastAPI application that does nothing: one route, one constant of so many bytes."""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI, Response

LISTENING = "bare_listening"


def main(size: int) -> None:
    app = FastAPI()
    constant = b"[" + b"1" * (size - 2) + b"]"

    @app.get("/")
    async def constant_answer() -> Response:
        return Response(constant, media_type="application/json")

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sys.stdout.write(f"{LISTENING} {listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(int(sys.argv[1]))
