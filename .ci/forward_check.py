"""What forward-check does once there is a binary: a line for each check, and exit code 1 when one failed."""
import base64, http.client, http.server, json, os, re, secrets, shlex, shutil, signal, sqlite3, subprocess, sys
import tempfile, threading, time, urllib.parse
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError

BINARY = Path(sys.argv[1]).resolve()
RECEIVERS = Path(__file__).resolve().parent.parent / "docs" / "receivers"
TOKEN = {"Authorization": "Bearer demo-admin-token"}
# with combining accents, from right to left, of four bytes a character, and what JSON escapes
NAMES = ["Zoë Müller", "Łukasz Żółć", "张伟", "محمد", "Nguye\u0302\u0303n", "𠮷野 🛫", 'O’Brien "Q" \\ \u2028 /', "Ольга"]
MAX_SECONDS = 240
MAX_DETAIL = 1000

failures = 0
processes = []


def check(what, is_right, detail=""):
    global failures
    failures += not is_right
    print(f"ok      {what}" if is_right else f"FAILED  {what}: {str(detail)[:MAX_DETAIL]}", flush=True)


def new_secret():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def environment(**variables):
    """Without the settings of whoever runs this."""
    ours = ("TICKET_WEBHOOKS", "DATABASE_URL", "PORT", "WEBHOOK_SECRET", "RUST_LOG")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {"RUST_LOG": "warn"} | variables


def start(name, command, directory, **variables):
    directory.mkdir(exist_ok=True)
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, env=environment(**variables), stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT)
    processes.append(process)
    return process, log


def stop(process):
    """Its exit code."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def wait_for(what, find, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return found


def read(log, pattern):
    """What the log says, once it says it."""
    try:
        return wait_for(pattern, lambda: re.search(pattern, log.read_text("utf-8", "replace"), re.MULTILINE)).group(1)
    except TimeoutError:
        raise RuntimeError(f"no {pattern!r} in {log.name}:\n{log.read_text('utf-8', 'replace')[-2000:]}") from None


def request(method, url, body=None, headers={}):
    """The status and the body of the answer; without an answer the error instead of the status."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=15)
    try:
        connection.request(method, parts._replace(scheme="", netloc="").geturl(), body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return repr(error), b""
    finally:
        connection.close()


class Service:
    """`dev`, as somebody uses it who reads what it prints."""

    def __init__(self, directory):
        self.process, log = start("dev", [BINARY, "dev"], directory, PORT="0")
        read(log, "(Ctrl-C stops)")
        self.database = read(log, "^psql '([^']+)'$")
        self.admin = read(log, r"'(http://[0-9.:]+)/v1/events\?from=start'")
        self.curl = dict(re.findall(r"^# (\w+)\n(curl .+)$", log.read_text("utf-8"), re.MULTILINE))

    def deliver(self, provider, reference, name, ascii=False):
        """The sample of a provider, with another reference and name."""
        words = shlex.split(self.curl[provider])
        url = next(word for word in words if word.startswith("http://"))
        headers = dict(words[index + 1].split(": ", 1) for index, word in enumerate(words) if word == "-H")
        body = json.loads(words[words.index("-d") + 1])
        if provider == "booking_callback":
            body["BookingId"], body["Passengers"][0]["FirstName"] = reference, name
        elif provider == "order_ticketed":
            body["data"]["orderNo"], body["data"]["paxTicketInfos"][0]["name"] = reference, name
        else:
            body["BookingTransactionRef"] = reference
            body["TicketInfoes"][0]["PassengerInfo"]["NameElement"]["FirstName"] = name
        status, answer = request("POST", url, json.dumps(body, ensure_ascii=ascii).encode(), headers)
        assert status == 200, (provider, status, answer)

    def ask(self, method, path, body=None):
        body = body and json.dumps(body)
        status, answer = request(method, self.admin + path, body, TOKEN | {"Content-Type": "application/json"})
        assert status in (200, 201), (path, status, answer)
        return json.loads(answer)

    def feed(self):
        """The items by id, in their order."""
        page = self.ask("GET", "/v1/events?from=start&limit=1000")
        assert not page["more"]
        return {item["id"]: item for item in page["events"]}


class ReferenceReceiver(http.server.ThreadingHTTPServer):
    """Keeps what the reference library verifies with each of the secrets alone."""

    def __init__(self, *secrets):
        super().__init__(("127.0.0.1", 0), ReferenceHandler)
        self.webhooks, self.url = [Webhook(secret) for secret in secrets], f"http://127.0.0.1:{self.server_port}/in?a=b"
        self.other = Webhook(new_secret())
        self.bodies, self.problems, self.lock = {}, [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def receive(self, body, headers):
        for webhook in self.webhooks:
            message = webhook.verify(body, headers)
        try:
            self.other.verify(body, headers)
            raise AssertionError("another secret verifies it, too")
        except WebhookVerificationError:
            pass
        assert headers["content-type"] == "application/json", headers["content-type"]
        assert set(message) == {"type", "timestamp", "data"}, set(message)
        assert headers["webhook-id"] == message["data"]["id"], headers["webhook-id"]
        assert message["type"] == message["data"]["type"], message["type"]
        assert message["timestamp"] == message["data"]["recorded_at"], message["timestamp"]
        with self.lock:
            self.bodies.setdefault(headers["webhook-id"], message["data"])

    def stored(self):
        with self.lock:
            return dict(self.bodies)


class ReferenceHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.server.receive(body, self.headers)
        except (AssertionError, KeyError, ValueError, WebhookVerificationError) as error:
            self.server.problems.append(repr(error))
            return self.send_error(400)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def forward(name, directory, service, url, secret):
    """Runs `forward` until it has sent each item of the feed."""
    expected = set(service.feed())
    command = [BINARY, "forward", "--to", url, "--from-start"]
    variables = {"DATABASE_URL": service.database, "TICKET_WEBHOOKS_FORWARD_SECRET": secret}
    process, log = start("forward", command, directory, **variables)

    def lines():
        return re.findall(r"^\S+ ([✓✗]) (\S+) in \d+ ms  \S+ ([0-9a-f-]{36}) ", log.read_text("utf-8"), re.MULTILINE)

    try:
        wait_for("forward", lambda: {id for mark, _, id in lines() if mark == "✓"} >= expected)
    except TimeoutError:
        pass
    code, sent = stop(process), lines()
    check(f"{name}: `forward` sends each of {len(expected)} items once, and is answered with 204",
          sorted(sent) == sorted(("✓", "204", id) for id in expected), log.read_text("utf-8")[-MAX_DETAIL:])
    check(f"{name}: `forward` ends in order", code == 0, f"exit code {code}")


def compare(name, stored, feed):
    different = [id for id in stored.keys() | feed.keys() if stored.get(id) != feed.get(id)]
    check(f"{name}: has each item once, equal to that of the feed", not different,
          [(stored.get(id), feed.get(id)) for id in different])


def check_reference(directory, service):
    secret = new_secret()
    receiver = ReferenceReceiver(secret)
    forward("reference", directory, service, receiver.url, secret)
    check("reference: verifies each request", not receiver.problems, receiver.problems)
    compare("reference", receiver.stored(), service.feed())
    receiver.shutdown()


def check_rotation(directory, service):
    """`serve` with two secrets, beside `dev`."""
    receiver, prefix = ReferenceReceiver(old := new_secret(), new := new_secret()), "TICKET_WEBHOOKS__"
    process, log = start("serve", [BINARY, "serve"], directory, **{
        "DATABASE_URL": service.database,
        "RUST_LOG": "info",
        f"{prefix}ADMIN__TOKEN": "demo-admin-token",
        f"{prefix}SERVER__PUBLIC_ADDRESS": "127.0.0.1:0",
        f"{prefix}SERVER__ADMIN_ADDRESS": "127.0.0.1:0",
        f"{prefix}SERVER__DRAIN_DELAY_MS": "0",
        f"{prefix}FORWARD__CHECK__URL": receiver.url,
        f"{prefix}FORWARD__CHECK__SECRETS": f"{old},{new}",
        f"{prefix}FORWARD__CHECK__FROM": "start",
    })
    admin = "http://" + read(log, r'"admin.address":"([^"]+)"')
    wait_for("the past", lambda: len(receiver.stored()) >= len(service.feed()) or receiver.problems)
    service.deliver("booking_callback", "new", NAMES[0])
    feed = service.feed()
    wait_for("what is new", lambda: len(receiver.stored()) >= len(feed) or receiver.problems)
    check("two secrets: each verifies each request of `serve`", not receiver.problems, receiver.problems)
    compare("two secrets", receiver.stored(), feed)

    def status():
        return json.loads(request("GET", f"{admin}/v1/forwards", headers=TOKEN)[1])["forwards"][0]

    try:
        wait_for("recorded", lambda: status()["lag_events"] == 0, 10)
    except TimeoutError:
        pass
    is_done = status()["lag_events"] == 0 and status()["blocked_bookings"] == 0
    check("two secrets: GET /v1/forwards says that all is delivered", is_done, status())
    logged = log.read_text("utf-8")
    secret = [word for word in [old, new, *NAMES, "?a=b"] if word in logged]
    check("two secrets: the log has no secret, no name and no query", not secret, secret)
    stop(process)
    receiver.shutdown()


class Example:
    """A receiver of docs/receivers, started as its first line says."""

    def __init__(self, name, command, directory, *secrets):
        self.name = name
        self.directory = directory
        self.process, log = start("receiver", command, directory, PORT="0", WEBHOOK_SECRET=" ".join(secrets))
        self.url = read(log, r"(http://[0-9.:]+/)")

    def stored(self):
        """Bodies by the webhook-id."""
        if (self.directory / "events.db").exists():
            with sqlite3.connect(self.directory / "events.db") as database:
                rows = database.execute("select id, body from events").fetchall()
        else:
            rows = [(file.stem, file.read_text("utf-8")) for file in (self.directory / "events").iterdir()]
        assert len(rows) == len({id for id, _ in rows})
        return {id: json.loads(body) for id, body in rows}

    def send(self, id, secret, body='{"data": "é"}', sent_body=None, age=0, signature="{}", sent_id=None):
        """The status that answers a request, which is right without the further arguments."""
        sent_at = datetime.now(timezone.utc) - timedelta(seconds=age)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": sent_id or id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": signature.format(Webhook(secret).sign(id, sent_at, body)),
        }
        return request("POST", self.url, (sent_body or body).encode(), headers)[0]


def check_example(name, command, directory, service):
    old, new, other = new_secret(), new_secret(), new_secret()
    example = Example(name, command, directory, old, new)
    forward(name, directory, service, example.url, old)
    compare(name, {id: body["data"] for id, body in example.stored().items()}, service.feed())
    forward(f"{name}, all again with the second secret", directory, service, example.url, new)
    compare(name, {id: body["data"] for id, body in example.stored().items()}, service.feed())

    before = example.stored()
    wrong = Webhook(other).sign("x", datetime.now(timezone.utc), "x")
    refused = {
        "the signature of another secret": example.send("refused", other),
        "a tampered body": example.send("refused", old, sent_body='{"data": "e"}'),
        "the signature of another id": example.send("refused", old, sent_id="refused-2"),
        "a time 6 minutes ago": example.send("refused", old, age=360),
        "a time in 6 minutes": example.send("refused", old, age=-360),
        "an unknown version": example.send("refused", old, signature="v2{}"),
        "an empty signature": example.send("refused", old, signature=""),
        "no header": request("POST", example.url, "{}")[0],
    }
    for what, status in refused.items():
        check(f"{name}: answers 401 to {what}", status == 401, status)
    check(f"{name}: stores nothing of these", example.stored() == before, example.stored().keys() - before.keys())

    accepted = {
        "a request 4 minutes old": example.send("accepted-1", old, age=240),
        "a repetition of it": example.send("accepted-1", old, body='{"data": "other"}'),
        "the right signature behind a wrong one": example.send("accepted-2", old, signature=f"{wrong} {{}}"),
    }
    for what, status in accepted.items():
        check(f"{name}: answers 204 to {what}", status == 204, status)
    ids = [f"together-{index % 16}" for index in range(64)]
    with ThreadPoolExecutor(len(ids)) as pool:
        statuses = set(pool.map(lambda id: example.send(id, new), ids))
    check(f"{name}: answers 204 to 64 requests at once, each id four times", statuses == {204}, statuses)
    stored = example.stored()
    expected = before.keys() | set(ids) | {"accepted-1", "accepted-2"}
    check(f"{name}: stores each of these once, as it came first",
          stored.keys() == expected and stored["accepted-1"] == {"data": "é"}, stored.keys() ^ expected)

    example.process.kill()
    example.process.wait()
    example = Example(name, command, directory, new)
    check(f"{name}: has everything after it was killed", example.stored() == stored)
    check(f"{name}: answers 204 to a repetition then", example.send("accepted-2", new) == 204)
    check(f"{name}: answers 401 to the secret that was replaced", example.send("refused", old) == 401)
    check(f"{name}: does not start without a secret", refuses_to_start(command, directory))


def refuses_to_start(command, directory):
    variables = environment(PORT="0", WEBHOOK_SECRET=" ,")
    return subprocess.run(command, cwd=directory, env=variables, capture_output=True, timeout=20).returncode != 0


def record_events(service):
    """Two revisions of bookings of each provider, and items of the two other types."""
    deliveries = [(provider, f"{provider}-é-{index}", NAMES[index], index % 2 == 0)
                  for provider in ("ticket_status_update", "booking_callback", "order_ticketed")
                  for index in range(len(NAMES))]
    for provider, reference, name, ascii in deliveries:
        service.deliver(provider, reference, name, ascii)
    for provider, reference, name, ascii in deliveries[::2]:
        service.deliver(provider, reference, f"{name}-{name}", ascii)
    service.ask("PUT", "/v1/bookings/booking_callback/test/overdue", {"expected_by": "2020-01-01T00:00:00Z"})
    service.ask("POST", "/v1/erasures", {"booking_ref": "order_ticketed-é-1"})
    wait_for("the overdue booking", lambda: {item["type"] for item in service.feed().values()} >= {"overdue", "erased"})
    feed = service.feed()
    names = {name for item in feed.values() for passenger in item.get("passengers", []) for name in passenger.values()
             if isinstance(name, str)}
    providers = {item["provider"] for item in feed.values()}
    check(f"the feed has {len(feed)} items of {len(providers)} providers, with the names as they were sent",
          len(providers) == 3 and names >= set(NAMES), set(NAMES) - names)


def main(directory):
    service = Service(directory / "dev")
    record_events(service)
    check_reference(directory / "reference", service)
    check_example("receiver.py", [sys.executable, RECEIVERS / "receiver.py"], directory / "python", service)
    if node := shutil.which("node"):
        check_example("receiver.mjs", [node, RECEIVERS / "receiver.mjs"], directory / "node", service)
    else:
        print("SKIPPED: node is not installed, so docs/receivers/receiver.mjs was not checked")
    check_rotation(directory / "rotation", service)


def too_long(*_):
    raise TimeoutError(f"it took longer than {MAX_SECONDS} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.alarm(MAX_SECONDS)
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # else `dev` of root, whose Postgres runs as another user, keeps its database elsewhere
        is_complete = False
        try:
            main(Path(name))
            is_complete = not failures
        finally:
            signal.alarm(0)
            # the newest first: the database of `dev` is in use until then
            for process in reversed(processes):
                if process.poll() is None:
                    stop(process)
            for log in [] if is_complete else sorted(Path(name).glob("*/*.log")):
                print(f"the end of {log.parent.name}/{log.name}: {log.read_text('utf-8', 'replace')[-MAX_DETAIL:]}")
    sys.exit(f"{failures} checks failed" if failures else 0)
