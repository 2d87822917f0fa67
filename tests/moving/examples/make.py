"""Makes a node of one of crossbar's templates, as `crossbar init` of that time does.

usage: make.py wheel template directory [name=value ...]

Files and directories with `appname` in their names get its value, and `{{ name }}` within a text
is replaced by that of this name, or by nothing if there is none. Scripts of a browser's library
are copied as they are, which crossbar says of them, too.
"""

import pathlib
import re
import sys
import zipfile

COPIED = {"autobahn.js", "autobahn.min.js", "autobahn.min.jgz"}


def make(wheel, template, directory, values):
    """Returns how many files there are."""
    start, made = f"crossbar/templates/{template}/", 0
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.startswith(start) or name.endswith("/"):
                continue
            data, place = archive.read(name), name.removeprefix(start)
            if pathlib.PurePath(place).name not in COPIED:
                fill = lambda found: values.get(found[1], "")
                data = re.sub(r"\{\{ (\w+) \}\}", fill, data.decode()).encode()
            if "appname" in values:
                place = place.replace("appname", values["appname"])
            path = pathlib.Path(directory, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            made += 1
    return made


def main():
    wheel, template, directory, *values = sys.argv[1:]
    if not make(wheel, template, directory, dict(value.split("=", 1) for value in values)):
        sys.exit(f"make.py: {wheel} has no template {template}")


if __name__ == "__main__":
    main()
