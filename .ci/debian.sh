#!/usr/bin/env bash
# What some tests use and pip cannot give: a browser and a PostgreSQL server. Without them those tests skip with a reason.
set -uo pipefail
have() { command -v "$1" >/dev/null || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1; }
if have chromium && have chromedriver && have initdb; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no chromium, chromedriver or PostgreSQL, and no right to install them: their tests will skip"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver postgresql >/dev/null ||
  echo "chromium, chromedriver or PostgreSQL could not be installed: their tests will skip"
