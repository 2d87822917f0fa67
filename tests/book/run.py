"""Does what the pages for users say: README.md has the words by which they say it.

`run.py COMMAND [PAGE...]`: the command begins namespaces, so that a page has the ports and the
directories that it names to itself, and whatever it has started ends with it.
`run.py --here PAGE`: on this machine as it is, in the folder where it is started. Only for a machine
that is thrown away afterwards.
"""

import array
import fcntl
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target" / "book-run"
PAGE_TIMEOUT_S = 240
# Those that need more than others do: tests/cluster/page.sh and tests/packages/inside.sh have it.
NAMED_ONLY = {"docs/cluster.md", "docs/debian.md"}
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.M | re.S)
MARKER = re.compile(r" *<!-- (run|start|file|output)\b:? *(.*?) *-->")

PROLOGUE = r"""
set -eu -o pipefail
step() { echo "$1" >"$STEPS/now"; }
# until_port HOST PORT PID, until_said FILE TEXT PID: for 30 s at most, while the process lives.
until_port() {
    local tries
    for tries in {1..300}; do
        if (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; then return; fi
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    echo "nobody listens at $1:$2" >&2
    return 1
}
until_said() {
    local tries
    for tries in {1..300}; do
        if grep -qF -- "$2" "$1"; then return; fi
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    echo "it does not say \"$2\"" >&2
    return 1
}
"""


def blocks(page):
    """The blocks that are files, commands or their output: line, word, argument, text."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rsplit("\n", 1)[-1]
        marker = MARKER.fullmatch(before)
        if marker:
            indent = len(match[1])
            lines = [line[indent:] for line in match[3].splitlines(keepends=True)]
            yield text.count("\n", 0, match.start()) + 1, marker[1], marker[2], "".join(lines)


def script(steps, page, mode="600"):
    """The program of a page, whose files have this mode, and which output is expected of which step."""
    lines, expected, last = [PROLOGUE], [], None
    for number, (line, word, argument, text) in enumerate(blocks(page)):
        place = f"{page.relative_to(ROOT)}:{line}"
        if word == "output":
            if last is None:
                raise SystemExit(f"{place}: there is nothing before it whose output it could be")
            expected.append((place, last, text))
            continue
        own = steps / str(number)
        own.write_text(text)
        out = f"{own}.out"
        lines.append(f"step {shlex.quote(f'{place} {own}')}")
        if word == "file":
            file = shlex.quote(argument)
            lines.append(f'mkdir -p "$(dirname {file})"; install -m {mode} {own} {file}')
        elif word == "start":
            lines.append(f"(. {own}) >{out} 2>&1 </dev/null & pid=$!")
            port = re.fullmatch(r"([\d.]+):(\d+)", argument)
            wait = f"until_port {port[1]} {port[2]}" if port else None
            wait = wait or f"until_said {out} {shlex.quote(argument)}"
            lines.append(f"{wait} $pid 2>>{out}")
            last = pathlib.Path(out)
        elif argument:
            code = int(argument.removeprefix("exit "))
            lines.append(f"code=0; (. {own}) >{out} 2>&1 </dev/null || code=$?; [ $code = {code} ]")
            last = pathlib.Path(out)
        else:
            # In the shell of the page, for the variables that it sets.
            lines.append(f". {own} >{out} 2>&1 </dev/null")
            last = pathlib.Path(out)
    return "\n".join([*lines, "step done", ""]), expected


def is_as_expected(expected, said):
    """Whether all lines come that the page shows, in its order; `...` stands for anything."""
    lines = iter(said.splitlines())
    for line in expected.strip().splitlines():
        pattern = re.escape(line.strip()).replace(re.escape("..."), ".*")
        if not any(re.fullmatch(pattern, other.strip()) for other in lines):
            return False
    return True


def run(command, page):
    """The complaint about a page, if there is one."""
    folder = WORK / str(page.relative_to(ROOT)).replace("/", "-").removesuffix(".md")
    steps, here = folder / "steps", folder / "here"
    steps.mkdir(parents=True)
    here.mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "stentor").symlink_to(pathlib.Path(os.environ["STENTOR_BIN"]).resolve())
    (here / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    program, expected = script(steps, page)
    (folder / "program.sh").write_text(program)
    environment = os.environ | {
        "STEPS": str(steps),
        "HOME": str(here),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
    }
    inside = [sys.executable, __file__, "--inside", str(folder)]
    return judge(page, steps, expected, finish([*command, *inside], cwd=here, env=environment))


def judge(page, steps, expected, done):
    """The complaint about what the program of a page has done; it was given up if `done` is None."""
    now = (steps / "now").read_text().strip() if (steps / "now").exists() else ""
    if done is None or done.returncode or now != "done":
        place, _, own = now.partition(" ")
        out = pathlib.Path(f"{own}.out")
        said = out.read_text() if own and out.exists() else ""
        why = "it takes too long" if done is None else f"status {done.returncode}"
        return f"{place or page}: {why}\n{said}{done.stdout if done else ''}"
    for place, out, text in expected:
        if not is_as_expected(text, out.read_text()):
            return f"{place}: the output is another one:\n{out.read_text()}"
    return None


def finish(command, **options):
    """The process, when it has ended; None if that takes too long."""
    try:
        return subprocess.run(
            command, timeout=PAGE_TIMEOUT_S, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options,
        )
    except subprocess.TimeoutExpired:
        return None


def here(page):
    """The complaint about a page that is followed on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        steps = pathlib.Path(folder)
        # As an editor leaves files.
        program, expected = script(steps, page, mode="644")
        # What the page has started ends with its shell.
        ending = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
        done = finish(["bash", "-c", ending + program], env=os.environ | {"STEPS": folder})
        return judge(page, steps, expected, done)


def inside(folder):
    """Within the namespaces: a loopback interface, and directories of the system's names."""
    up = array.array("B", b"lo".ljust(16, b"\0") + (1).to_bytes(2, "little").ljust(24, b"\0"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS, IFF_UP
    mount("tmpfs", "none", "/srv")
    mount("tmpfs", "none", "/run")
    layers = folder / "layers"
    layers.mkdir()
    mount("tmpfs", "none", str(layers))
    for path in ("/etc", "/var/lib"):
        upper, work = (layers / f"{path[1:].replace('/', '-')}-{kind}" for kind in ("new", "work"))
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={path},upperdir={upper},workdir={work}"
        mount("overlay", "overlay", path, "-o", options)
    for path in ("/etc/stentor", "/var/lib/stentor", "/run/stentor"):
        os.mkdir(path)
    os.execvp("bash", ["bash", str(folder / "program.sh")])


def mount(kind, *arguments):
    subprocess.run(["mount", "-t", kind, *arguments], check=True)


def main(command, names):
    subprocess.run(["rm", "-rf", str(WORK)], check=True)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    passed = failed = 0
    for page in pages:
        name = str(page.relative_to(ROOT))
        wanted = name in names or not names and name not in NAMED_ONLY
        count = sum(word in ("run", "start") for _, word, _, _ in blocks(page))
        if not wanted or not count:
            continue
        complaint = run(command, page)
        if complaint:
            failed += 1
            print(f"FAIL {complaint}", flush=True)
        else:
            passed += 1
            print(f"{page.relative_to(ROOT)}: {count} commands", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(pathlib.Path(sys.argv[2]))
    if sys.argv[1:2] == ["--here"]:
        sys.exit(here(ROOT / sys.argv[2]))
    sys.exit(main(shlex.split(sys.argv[1]), sys.argv[2:]))
