# A tour of the site by curl, over HTTP/2 if `HTTP2` is set. What it prints is compared, so it prints nothing that changes:
# heads as they come, bodies and trailers.
set -eu
site=https://api.site.example
if [ "${HTTP2:-}" ]; then version=--http2; else version=--http1.1; fi
form='%{http_code} %{size_download} %{content_type} %{num_redirects}\n'
one() { curl "$version" --silent --show-error --write-out "$form" "$@"; }
ask() { one --dump-header - "$@"; }

ask -H "Authorization: Bearer $TOKEN" -H 'x-MiXed: Case' -H 'X-Empty;' "$site/echo?q=a%20b+c&q=%C3%BC"
ask -u "user:$TOKEN" --json '{"text": "grüße"}' "$site/echo"
ask -H "X-Api-Key: $TOKEN" -X PATCH -d a=1 -d b=2 "$site/echo"
ask "$site/echo?key=$TOKEN&other=1"
ask "$site/bot$TOKEN/me"

head -c 2000000 /dev/zero | tr '\0' x > upload
ask -H "Authorization: Bearer $TOKEN" -F file=@upload -F note=hello "$site/echo"
ask -H "Authorization: Bearer $TOKEN" -T upload "$site/echo"
ask -H "Authorization: Bearer $TOKEN" -H 'Transfer-Encoding: chunked' --data-binary @upload "$site/echo"
ask -H "Authorization: Bearer $TOKEN" -H 'Expect: 100-continue' -d small "$site/echo"

ask --no-buffer "$site/events"
ask --compressed "$site/gzip"
ask "$site/chunks"
ask -o download "$site/large"
cksum download
ask -L -H "Authorization: Bearer $TOKEN" "$site/redirect"
ask -L -H "Authorization: Bearer $TOKEN" -d body "$site/away"
ask -c jar -b jar "$site/cookie" "$site/echo"
ask -I -H "Authorization: Bearer $TOKEN" "$site/echo"
ask -X DELETE -H "Authorization: Bearer $TOKEN" "$site/empty"
ask -X OPTIONS "$site/echo"
ask "$site/missing"
ask "$site/broken"
ask --http1.0 --no-alpn "$site/echo"
ask --path-as-is "$site/echo?x=/../y" "$site/chunks" "$site/echo"
# Heads of these come in any order.
one --parallel --parallel-immediate -o /dev/null -o /dev/null -o /dev/null "$site/echo?1" "$site/echo?2" "$site/echo?3"

forms=https://forms.site.example/echo
ask -H 'Content-Type: application/json' -d "{\"login\": {\"token\": \"$TOKEN\"}, \"x\": [1, 2]}" "$forms"
ask --data-urlencode "token=$TOKEN" -d other=1 "$forms"
ask -F "token=$TOKEN" -F note=hello "$forms"
ask -H 'Content-Type: text/plain' -d "it is $TOKEN." "$forms"
ask -b "a=1; session=$TOKEN" "$forms"
