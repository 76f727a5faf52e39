"""A tour of the site by httpx, over HTTP/2 if `HTTP2` is set. What it prints is compared."""

import os

import httpx

SITE = "https://api.site.example"
FORMS = "https://forms.site.example/echo"
TOKEN = os.environ["TOKEN"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
client = httpx.Client(base_url=SITE, http2="HTTP2" in os.environ, follow_redirects=True, timeout=20)


def ask(method, path, **options):
    response = client.request(method, path, **options)
    shown = response.text if len(response.content) < 200 else sum(response.content)
    heads = [sorted(one.headers.raw) for one in [*response.history, response]]
    print(response.http_version, method, path.replace(TOKEN, "…"), response.status_code, heads, shown)
    return response


def pieces():
    for piece in range(20):
        yield bytes([piece]) * 10_000


ask("GET", "/echo", params={"q": ["a b+c", "ü"]}, headers={**BEARER, "x-MiXed": "Case", "X-Empty": ""})
ask("POST", "/echo", auth=("user", TOKEN), json={"text": "grüße"})
ask("PATCH", "/echo", headers={"X-Api-Key": TOKEN}, data={"a": "1", "b": "2"})
ask("GET", "/echo", params={"key": TOKEN, "other": "1"})
ask("GET", f"/bot{TOKEN}/me")
ask("POST", "/echo", headers=BEARER, files={"file": ("upload", b"x" * 2_000_000)}, data={"note": "hello"})
ask("PUT", "/echo", headers=BEARER, content=b"x" * 2_000_000)
ask("POST", "/echo", headers=BEARER, content=pieces())
with client.stream("GET", "/events") as events:
    print(sorted(events.headers.raw))
    for line in events.iter_lines():
        print(line)
ask("GET", "/gzip")
ask("GET", "/chunks")
ask("GET", "/large")
ask("GET", "/redirect", headers=BEARER)
ask("POST", "/away", headers=BEARER, content=b"body")
ask("GET", "/cookie")
ask("GET", "/echo")
ask("HEAD", "/echo", headers=BEARER)
ask("DELETE", "/empty", headers=BEARER)
ask("OPTIONS", "/echo")
ask("POST", FORMS, json={"login": {"token": TOKEN}, "x": [1, "ü"]})
ask("POST", FORMS, data={"token": TOKEN, "other": "a b"})
ask("POST", FORMS, data={"token": TOKEN}, files={"file": ("small", b"small")})
ask("POST", FORMS, content=f"it is {TOKEN}, ü".encode(), headers={"Content-Type": "text/plain"})
ask("GET", FORMS, headers={"Cookie": f"a=1; session={TOKEN}"})
ask("GET", "/missing")
ask("GET", "/broken")
# Given up on in the middle; the next one has to be well.
with client.stream("GET", "/events") as events:
    next(events.iter_lines())
ask("GET", "/echo")
