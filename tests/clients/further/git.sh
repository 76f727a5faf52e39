# Clones an empty repository with the token as password, pushes to it, clones it again with the token in a header, and
# leaves it as it was. What it prints is compared.
set -eu
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=micky GIT_AUTHOR_EMAIL=micky@example.org GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=micky GIT_COMMITTER_EMAIL=micky@example.org GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
with_password="https://x-access-token:$TOKEN@github.com/micky/tiny.git"
basic=$(printf 'x-access-token:%s' "$TOKEN" | base64 --wrap=0)

git clone --quiet "$with_password" first
cd first
git checkout --quiet -b topic
echo hello > small
head -c 3000000 "$(readlink -f "$(command -v node)")" > large
git add . && git commit --quiet -m 'a small and a large file'
# In chunks, since it is longer than the buffer.
git -c http.postBuffer=100000 push --quiet origin topic
cd ..
git -c http.extraHeader="Authorization: Basic $basic" clone --quiet --branch topic https://github.com/micky/tiny.git second
git -C second log --format='%H %s'
cksum second/small second/large
git -C second -c http.extraHeader="Authorization: Basic $basic" fetch --quiet origin
git -C first push --quiet origin --delete topic
git ls-remote "$with_password"
