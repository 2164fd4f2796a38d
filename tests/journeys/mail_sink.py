"""A mail server for the journeys: takes each mail, or none and says whose, or listens and never answers."""

import socketserver
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage


class Sink:
    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.is_mute = self.is_refusing = False
        self.port = 0
        self._server: socketserver.ThreadingTCPServer | None = None

    def open(self) -> None:
        sink = self

        class Talk(socketserver.StreamRequestHandler):
            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self) -> None:
                self.say("220 sink")
                for line in self.rfile:
                    word = line[:4].upper()
                    if word == b"RCPT" and sink.is_refusing:
                        self.say(f"550 no mailbox for {line.decode().strip()}")
                    elif word == b"DATA":
                        self.say("354 go on")
                        self.take()
                    elif word == b"QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 sink")

            def take(self) -> None:
                body = b"".join(iter(self.rfile.readline, b".\r\n"))
                sink.raw.append(body)
                sink.mails.append(message_from_bytes(body, policy=policy.default))  # type: ignore[arg-type]
                while sink.is_mute:
                    time.sleep(0.1)
                self.say("250 taken")

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Talk)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]
