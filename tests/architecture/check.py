#!/usr/bin/env python3
"""Reads #include lines and CMake dependencies against the folder map, and looks for loose ends and for documents that name
what is not there.

    check.py [ROOT]      prints one line for each violation; exit code 1 when there are any

The map: config < vector < persistence < cluster < actors < runtime; a folder knows itself and the floors below it.
"""
import os
import re
import sys

FLOORS = ["config", "vector", "persistence", "cluster", "actors", "runtime"]
TOP_FOLDERS = FLOORS + ["tests", "bench", "deploy"]
SOURCES = (".hpp", ".cpp", ".h", ".cc")
SKIPPED = {"build", ".git", ".hive", ".cache", "__pycache__"}

# A technology's headers may be included only below these paths.
TECHNOLOGIES = [
    (r"sqlite3\.h", ["persistence/sqlite/"]),
    (r"(libpq-fe\.h|pqxx/)", ["persistence/postgres/"]),
    (r"hiredis/", ["persistence/redis/"]),
    (r"faiss/", ["vector/faiss/"]),
    (r"boost/", ["actors/context/http/", "runtime/api/http/", "runtime/cli/"]),
    (r"CLI/", ["runtime/cli/", "runtime/node/daemon.cpp"]),
    (r"prometheus/", ["runtime/ops/"]),
    (r"caf/", ["actors/caf/"]),
    (r"yaml-cpp/", ["config/", "runtime/cli/"]),
    (r"spdlog/", ["config/base/log.cpp"]),
    (r"google/protobuf/", ["runtime/api/"]),
    (r"grpc", ["runtime/api/", "cluster/links/grpc/"]),
    (r"curl/", ["runtime/"]),
    (r"openssl/", ["config/base/", "cluster/links/grpc/", "runtime/"]),
]

# Folders of runtime: node is the wiring and knows the others; cli speaks only the public API.
CLI_MAY_INCLUDE = ("runtime/cli/", "runtime/api/hive/")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
LOOSE_END = re.compile(
    r"(?://|#|/\*|<!--|\*)\s*(?:TODO|FIXME|XXX|HACK)\b|\b(?:not yet implemented|to be implemented|coming soon)\b", re.I)


def files(root, suffixes):
    for folder, names, found in os.walk(root):
        names[:] = sorted(n for n in names if n not in SKIPPED)
        for name in sorted(found):
            if name.endswith(suffixes) or name in suffixes:
                path = os.path.join(folder, name)
                yield os.path.relpath(path, root), path


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def floor_of(path):
    top = path.split("/", 1)[0]
    return FLOORS.index(top) if top in FLOORS else None


def check_edge(user, used):
    """Why the file or folder `user` may not know `used`, or None."""
    here, there = floor_of(user), floor_of(used)
    if here is None or there is None:
        return None
    if there > here:
        return f"{FLOORS[here]} may not know {FLOORS[there]}, which is above it"
    if user.startswith("runtime/cli/") and not used.startswith(CLI_MAY_INCLUDE):
        return "runtime/cli speaks only the public API"
    if user.startswith("runtime/"):
        for closed in ("runtime/node/", "runtime/cli/"):
            if used.startswith(closed) and not user.startswith(closed):
                return f"only {closed[:-1]} itself may know {closed[:-1]}"
    return None


def check_includes(root):
    for path, full in files(root, SOURCES):
        if floor_of(path) is None:
            continue
        text = read(full)
        for match in INCLUDE.finditer(text):
            quoted, header = match.group(1) == '"', match.group(2)
            where = f"{path}:{text.count(chr(10), 0, match.start(2)) + 1}"
            why = check_edge(path, header) if quoted else None
            if why:
                yield f'{where}: includes "{header}": {why}'
            if quoted and "/" not in header and os.path.exists(os.path.join(os.path.dirname(full), header)):
                yield f'{where}: includes "{header}": write the path from the root of the tree'
            for pattern, allowed in TECHNOLOGIES:
                if re.match(pattern, header) and not any(path.startswith(a) for a in allowed):
                    yield f"{where}: includes <{header}>, which belongs into {' or '.join(allowed)} only"


def check_cmake(root):
    """DEPS and PRIVATE_DEPS of hive_library() name only targets of folders that the folder may know."""
    home, uses = {}, []
    call = re.compile(r"\bhive_(library|executable)\s*\(\s*([\w.-]+)([^)]*)\)")
    for path, full in files(root, ("CMakeLists.txt",)):
        folder = os.path.dirname(path)
        if floor_of(folder + "/") is None:
            continue
        text = re.sub(r"#.*", "", read(full))
        for match in call.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            arguments = match.group(3).split()
            if match.group(1) == "library":
                home["hive::" + match.group(2)] = folder + "/"
            uses.append((path, line, folder + "/", [a for a in arguments if a.startswith("hive::")]))
    for path, line, folder, used in uses:
        for target in used:
            if target in home:
                why = check_edge(folder, home[target])
                if why:
                    yield f"{path}:{line}: links {target}: {why}"


def check_loose_ends(root):
    for path, full in files(root, SOURCES + (".cmake", "CMakeLists.txt", ".py", ".proto", ".yaml", ".md", "run")):
        if path.startswith("tests/"):
            continue  # tests plant them
        for number, line in enumerate(read(full).splitlines(), 1):
            match = LOOSE_END.search(line)
            if match:
                yield f"{path}:{number}: loose end: {match.group(0).strip()}"


def check_readmes(root):
    for folder in TOP_FOLDERS:
        if not os.path.exists(os.path.join(root, folder, "README.md")):
            yield f"{folder}: has no README.md"


def check_names_in_documents(root):
    """What a document names in backquotes is there: tests ("SuiteTest.Name...", "x_test"), files, settings; and linked files."""
    tree = [path for path, _ in files(root, SOURCES + (".py", ".md", ".proto", ".yaml"))]
    tests = "".join(read(full) for path, full in files(root, SOURCES + (".py", "CMakeLists.txt")) if path.startswith("tests/"))
    settings_file = os.path.join(root, "config/settings.cpp")
    settings = set(re.findall(r'"([a-z_]+\.[a-z_.]+)", &', read(settings_file))) if os.path.exists(settings_file) else set()
    groups = {name.split(".")[0] for name in settings}

    def absent(name):
        if re.fullmatch(r"[\w./-]+\.(cpp|hpp|py|md|proto|yaml)", name):
            return not any(("/" + path).endswith("/" + name.lstrip("./")) for path in tree)
        if re.fullmatch(r"[a-z]+(\.[a-z_]+)+", name) and name.split(".")[0] in groups:
            return name not in settings and not any(s.startswith(name + ".") for s in settings)
        if re.fullmatch(r"[A-Z]\w+Test\.[\w*.]+", name):
            suite, test = name.split(".", 1)
            test = re.escape(test.replace("...", "*").rstrip("*")).replace(r"\*", r"\w*")
            return not re.search(rf"TEST(_F|_P)?\(\s*{suite}\s*,\s*{test}", tests)
        return bool(re.fullmatch(r"[a-z]\w*_test", name)) and name not in tests

    for path, full in files(root, (".md",)):
        for number, line in enumerate(read(full).splitlines(), 1):
            for name in re.findall(r"`([^`]+)`", line):
                if absent(name):
                    yield f"{path}:{number}: names {name}, which is not there"
            for link in re.findall(r"\]\(([^)#]+)\)", line):
                if "://" not in link and not os.path.exists(os.path.join(os.path.dirname(full), link)):
                    yield f"{path}:{number}: links to {link}, which is not there"


def violations(root):
    for check in (check_includes, check_cmake, check_loose_ends, check_readmes, check_names_in_documents):
        yield from check(root)


if __name__ == "__main__":
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    found = list(violations(os.path.realpath(root)))
    print("\n".join(found) if found else "the tree keeps to the folder map")
    sys.exit(1 if found else 0)
