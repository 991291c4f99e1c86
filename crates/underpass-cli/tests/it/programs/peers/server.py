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
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path[1:]
        self.send_response(200)
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


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if WAY == "kept":
    KEPT = {path: mapped(path) for path in os.listdir()}
server = Server(("127.0.0.1", PORT), Handler)
if WAY == "tls":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("../cert.pem", "../key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
