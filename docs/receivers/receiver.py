"""Stores each event that ticket-webhooks forwards once, in events.db: WEBHOOK_SECRET=whsec_… python3 receiver.py"""
import base64, hmac, http.server, os, sqlite3, sys, threading, time

SECRETS = os.environ.get("WEBHOOK_SECRET", "").replace(",", " ").split()  # two while one is replaced by the other
KEYS = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in SECRETS]
if not KEYS or min(map(len, KEYS)) < 24:
    sys.exit("WEBHOOK_SECRET: expected whsec_ and at least 24 bytes in base64")
os.umask(0o077)  # the events name passengers: no other user may read the file
database, lock = sqlite3.connect("events.db", check_same_thread=False), threading.Lock()
database.execute("pragma synchronous = extra")  # what is committed survives a power failure
database.execute("create table if not exists events (id text primary key, body text not null)")


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", 30

    def do_POST(self):
        length = int(self.headers.get("content-length", -1))
        if not 0 <= length <= 4 << 20:  # anybody can send before the signature is checked
            return self.send_error(413)
        body = self.rfile.read(length)
        id, sent_at, given = (self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        signed = f"{id}.{sent_at}.".encode() + body
        expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in KEYS]
        is_signed = any(hmac.compare_digest(a, b) for a in given.encode().split() for b in expected)
        if not is_signed or abs(time.time() - int(sent_at)) > 300:
            return self.send_error(401)
        with lock, database:  # committed at the end of this block; a repetition changes nothing
            database.execute("insert or ignore into events values (?, ?)", (id, body.decode()))
        self.send_response(204)  # only now: what is answered with 2xx is not sent again
        self.end_headers()


http.server.ThreadingHTTPServer.request_queue_size = 128  # connections that come at once; it would refuse more than 5
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 4242))), Receiver)
print(f"receives on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
