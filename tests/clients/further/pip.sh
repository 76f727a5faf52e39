# Installs a package from an index that wants a token as password. What it prints is compared.
set -eu
export PIP_INDEX_URL="https://__token__:$TOKEN@packages.example.org/simple" PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
/usr/bin/python3 -m pip install --quiet --target installed tiny
ls installed
cat installed/tiny.py
