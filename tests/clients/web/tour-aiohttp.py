"""A tour of the site by aiohttp. What it prints is compared, so it prints nothing that changes."""

import asyncio
import os

import aiohttp

SITE = "https://api.site.example"
TOKEN = os.environ["TOKEN"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def pieces():
    for piece in range(20):
        yield bytes([piece]) * 10_000


async def main():
    async with aiohttp.ClientSession(SITE) as session:

        async def ask(method, path, **options):
            async with session.request(method, path, **options) as response:
                body = await response.read()
                shown = body if len(body) < 200 else sum(body)
                heads = [sorted(one.raw_headers) for one in [*response.history, response]]
                print(method, path.replace(TOKEN, "…"), response.status, heads, shown)

        await ask("GET", "/echo", params=[("q", "a b+c"), ("q", "ü")], headers={**BEARER, "x-MiXed": "Case"})
        await ask("POST", "/echo", auth=aiohttp.BasicAuth("user", TOKEN), json={"text": "grüße"})
        await ask("PATCH", "/echo", headers={"X-Api-Key": TOKEN}, data={"a": "1", "b": "2"})
        await ask("GET", "/echo", params={"key": TOKEN, "other": "1"})
        await ask("GET", f"/bot{TOKEN}/me")
        form = aiohttp.FormData({"note": "hello"})
        form.add_field("file", b"x" * 2_000_000, filename="upload")
        await ask("POST", "/echo", headers=BEARER, data=form)
        await ask("PUT", "/echo", headers=BEARER, data=b"x" * 1_000_000)
        await ask("POST", "/echo", headers=BEARER, data=pieces())
        await ask("POST", "/echo", headers=BEARER, data=b"small", expect100=True)
        async with session.get("/events") as events:
            print(sorted(events.raw_headers))
            async for line in events.content:
                print(line)
        await ask("GET", "/gzip")
        await ask("GET", "/chunks")
        await ask("GET", "/large")
        await ask("GET", "/redirect", headers=BEARER)
        await ask("POST", "/away", headers=BEARER, data=b"body")
        await ask("GET", "/cookie")
        await ask("GET", "/echo")
        await ask("HEAD", "/echo", headers=BEARER)
        await ask("DELETE", "/empty", headers=BEARER)
        await ask("OPTIONS", "/echo")
        await ask("GET", "/missing")
        await ask("GET", "/broken")
        answers = await asyncio.gather(*(session.get(f"/echo?{number}") for number in range(5)))
        print([(sorted(answer.raw_headers), await answer.text()) for answer in answers])


asyncio.run(main())
