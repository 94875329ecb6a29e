#!/bin/sh
# Provides the foreign software of the tests; idempotent, a few seconds when all is there.
# What is missing is named; the exit code is then 1 under CI (CI set), 0 at home, where its tests skip loudly.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
cache=$root/.cache
missing=""
mkdir -p "$cache"
if command -v flock >/dev/null; then exec 9>"$cache/peers.lock"; flock 9; fi # two runs at once would share folders

say() { printf 'peers: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
lack() { missing="$missing $1"; say "MISSING $1: $2"; }

step() { # step <words> <command...>: says what, and the seconds it took
    words=$1; shift
    say "$words ..."
    begun=$(date +%s)
    if "$@"; then say "$words: $(($(date +%s) - begun)) s"; else say "$words: FAILED"; return 1; fi
}

install_packages() {
    packages=""
    for pair in findscu:dcmtk storescu:dcmtk chromium:chromium strace:strace java:default-jdk-headless \
        javac:default-jdk-headless mvn:maven node:nodejs npm:npm dciodvfy:dicom3tools initdb:postgresql faketime:faketime \
        nbdkit:nbdkit nbdfuse:libnbd-bin fusermount3:fuse3 mkfs.ext4:e2fsprogs; do
        have "${pair%%:*}" && continue
        # Debian keeps PostgreSQL's programs off the PATH.
        [ "$pair" = initdb:postgresql ] && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && continue
        case " $packages " in *" ${pair##*:} "*) ;; *) packages="$packages ${pair##*:}" ;; esac
    done
    # A plugin of nbdkit is no command.
    nbdkit --dump-plugin python >/dev/null 2>&1 || packages="$packages nbdkit-plugin-python"
    [ -z "$packages" ] && { say "commands: all there"; return; }
    if ! have apt-get; then lack "$packages" "no apt-get here, install them by hand"; return; fi
    if [ "$(id -u)" = 0 ]; then as=""; elif sudo -n true 2>/dev/null; then as="sudo -n"; else
        lack "$packages" "not root and no sudo: apt-get install$packages"; return
    fi
    step "apt-get update" $as apt-get -qq update
    # shellcheck disable=SC2086
    step "apt-get install$packages" $as env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install $packages >"$cache/apt.log" 2>&1 ||
        lack "$packages" "apt-get failed, see $cache/apt.log"
}

digest() { cat "$@" | sha256sum | cut -d' ' -f1; }
fresh() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

build_hapi() {
    project=$root/tests/peers/hapi
    # shellcheck disable=SC2046
    wanted=$(digest "$project/pom.xml" $(find "$project/src" -type f | LC_ALL=C sort))
    fresh "$cache/hapi/.stamp" "$wanted" && { say "HAPI: built already"; return; }
    if ! have mvn || ! have javac; then lack HAPI "needs mvn and javac"; return; fi
    rm -rf "$cache/hapi"
    if step "HAPI: mvn package (about 330 MB of jars the first time)" \
        mvn -B -q -f "$project/pom.xml" -Dbuild.folder="$cache/hapi" package; then
        echo "$wanted" >"$cache/hapi/.stamp"
    else lack HAPI "Maven failed"; fi
}

install_dimse() {
    wanted=$(digest "$root/tests/peers/dimse/package-lock.json")
    fresh "$root/tests/peers/dimse/node_modules/.stamp" "$wanted" && { say "dcmjs-dimse: there already"; return; }
    have npm || { lack dcmjs-dimse "needs npm"; return; }
    if step "dcmjs-dimse: npm ci" \
        npm --prefix "$root/tests/peers/dimse" ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
        echo "$wanted" >"$root/tests/peers/dimse/node_modules/.stamp"
    else lack dcmjs-dimse "npm failed"; fi
}

install_mllp() {
    wanted=$(digest "$root/tests/peers/mllp/package-lock.json")
    fresh "$root/tests/peers/mllp/node_modules/.stamp" "$wanted" && { say "simple-hl7: there already"; return; }
    have npm || { lack simple-hl7 "needs npm"; return; }
    if step "simple-hl7: npm ci" \
        npm --prefix "$root/tests/peers/mllp" ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
        echo "$wanted" >"$root/tests/peers/mllp/node_modules/.stamp"
    else lack simple-hl7 "npm failed"; fi
}

install_viewer() {
    python=${PYTHON:-$root/.venv/bin/python}
    have "$python" || python=python3
    step "OHIF" "$python" -m bridge.web.viewer.install "$cache/viewer" || lack OHIF "see the lines above"
}

install_packages
build_hapi
install_dimse
install_mllp
install_viewer
if [ -n "$missing" ]; then
    say "NOT EVERYTHING IS HERE:$missing. The tests that need it will skip, or fail under CI."
    [ -n "${CI:-}" ] && exit 1
fi
exit 0
