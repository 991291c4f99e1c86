"""Serves the files of its directory as its first argument says."""
import http.server
import mmap
import os
import socketserver
import ssl
import sys

WAY, PORT = sys.argv[1], int(sys.argv[2])


def mapped(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1" if WAY == "pieces" else "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path[1:]
        if WAY == "made":
            return self.answer(MADE)
        self.send_response(200)
        if WAY == "pieces":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.send_in_pieces(KEPT[path])
        self.send_header("Content-Length", str(os.stat(path).st_size))
        self.end_headers()
        if WAY == "sendfile":
            with open(path, "rb") as file:
                self.wfile.flush()
                self.connection.sendfile(file)
        elif WAY == "kept":
            self.wfile.write(KEPT[path])
        else:
            with mapped(path) as memory:
                self.wfile.write(memory)

    def do_POST(self):
        """Answers with as many bytes, and others."""
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).translate(OTHERS))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_in_pieces(self, memory):
        """As chunks of a page, many in a call: a head, some of the mapping, and a line's end."""
        view, pieces = memoryview(memory), []
        for at in range(0, len(view), 4096):
            piece = view[at : at + 4096]
            pieces += [b"%x\r\n" % len(piece), piece, b"\r\n"]
        pieces.append(b"0\r\n\r\n")
        for at in range(0, len(pieces), 64):
            some = pieces[at : at + 64]
            assert self.connection.sendmsg(some) == sum(map(len, some))


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


OTHERS = bytes((byte + 1) % 256 for byte in range(256))
if WAY in ("kept", "pieces"):
    KEPT = {path: mapped(path) for path in os.listdir()}
server = Server(("127.0.0.1", PORT), Handler)
if WAY == "made":
    # As every Java program has: figures about itself, in a file that others may look at.
    with open("../figures", "w+b") as file:
        file.truncate(32768)
        FIGURES = mmap.mmap(file.fileno(), 0)
    MADE = bytes(range(256)) * 16384
if WAY in ("tls", "made"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("../cert.pem", "../key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
