# Installs a package from a registry that wants a token, and publishes it. What it prints is compared.
set -eu
echo "//registry.example.org/:_authToken=$TOKEN" > .npmrc
npm() { command npm --userconfig .npmrc --cache cache --silent --no-audit --no-fund --no-update-notifier "$@"; }
npm whoami
npm view tiny version
npm install --prefix project tiny
cat project/node_modules/tiny/package.json
cd project/node_modules/tiny
sed -i s/1.0.0/1.0.1/ package.json
command npm --userconfig ../../../.npmrc --cache ../../../cache --silent publish
