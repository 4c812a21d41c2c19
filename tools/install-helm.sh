#!/usr/bin/env bash
# Installs the helm that the end-to-end tests use, compiled from source by the machine's Go (about three minutes, once),
# into ${XDG_CACHE_HOME:-~/.cache}/coffer-test/bin, and prints its path. Does nothing when that version is there.
# It must not touch a helm of the machine's own.
set -euo pipefail

version=v3.22.0
bin=${XDG_CACHE_HOME:-$HOME/.cache}/coffer-test/bin
mkdir -p "$bin"

# One installation at a time; whoever waited finds it done.
exec 9>"$bin/.helm.lock"
flock 9
if [[ $("$bin/helm" version --template '{{.Version}}' 2>/dev/null || true) == "$version" ]]; then
  echo "$bin/helm"
  exit 0
fi
command -v go >/dev/null || {
  echo "install-helm: needs Go to compile helm $version; install Go, or put a helm binary at $bin/helm" >&2
  exit 1
}
# `go install` names no version in the binary, and the no-op above wants one.
GOBIN=$bin CGO_ENABLED=0 nice -n 10 go install -trimpath \
  -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$version" "helm.sh/helm/v3/cmd/helm@$version"
echo "$bin/helm"
