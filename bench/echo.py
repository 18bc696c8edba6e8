"""A bare pyzmq ROUTER that answers at once: the cost of the socket without a learner.

``same`` sends back the frames it got; ``margins`` sends, instead of a body of 1,024 samples, one
as large as the reply of our daemon to it.
"""

from __future__ import annotations

import sys

import zmq

MARGINS = b"\xdc\x04\x00" + b"\xcb?\xf0\0\0\0\0\0\0" * 1024


def main(reply: str) -> None:
    """Answer until killed."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"echo at tcp://127.0.0.1:{port} ", file=sys.stderr, flush=True)
    if reply == "same":
        while True:
            socket.send_multipart(socket.recv_multipart())
    while True:
        identity, header, _ = socket.recv_multipart(copy=False)
        socket.send_multipart((identity, header, MARGINS), copy=False)


if __name__ == "__main__":
    main(sys.argv[1])
