#!/usr/bin/env python3
"""docs/api.md's tables, from api/*.yaml: one for what all services have, one a service, and what each error
means.

usage: api_docs.py           writes the document anew
       api_docs.py --check   1 when it is not what it should be
"""
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "api.md"
BEGIN = "<!-- calls: made from api/*.yaml by scripts/api_docs.py -->"
METHODS = ("get", "post", "put", "patch", "delete")
SERVICES = ("hub", "edge", "traffic")
# what any call may say; the second table of errors tells of them
ALWAYS = {"400", "401", "403", "413", "415", "422", "429"}
COMMON = "./common.yaml"


def read(name):
    """Every $ref names its file when it leads into common.yaml, also those within it."""
    text = (ROOT / "api" / f"{name}.yaml").read_text()
    return yaml.safe_load(text.replace("'#/", f"'{COMMON}#/") if name == "common" else text)


def follow(node, own, common):
    """The node that a $ref leads to."""
    while isinstance(node, dict) and "$ref" in node:
        file, path = node["$ref"].split("#")
        node = common if file else own
        for part in path.strip("/").split("/"):
            node = node[part]
    return node


def plain(text):
    """One line; a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").rstrip(".")




def schema_name(node):
    schema = node.get("content", {}).get("application/json", {}).get("schema", {})
    names = re.findall(r"schemas/(\w+)", str(schema))
    return names[0] if names else None


def takes(item, operation, own, common):
    out = []
    parameters = [follow(p, own, common) for p in [*item.get("parameters", []), *operation.get("parameters", [])]]
    out += [f"`?{p['name']}`" for p in parameters if p["in"] == "query"]
    out += [f"`{p['name']}`" for p in parameters if p["in"] == "header"]
    if body := operation.get("requestBody"):
        out.insert(0, f"`{schema_name(body)}`" + ("" if body["required"] else " (may be left out)"))
    return ", ".join(out)


def answers(operation, own, common):
    out = []
    for status, node in operation["responses"].items():
        if status in ALWAYS:
            continue
        node = follow(node, own, common)
        name = schema_name(node)
        if int(status) >= 300:
            out.append(status)
        else:
            out.append(f"**{status}**" + (f" `{name}`" if name else ""))
    return ", ".join(out)


def table(paths, own, common):
    rows = ["| call | what | takes | answers |", "| --- | --- | --- | --- |"]
    for path, item in paths:
        item = follow(item, own, common)
        for method in METHODS:
            if operation := item.get(method):
                is_open = operation.get("security") == []
                what = plain(operation["summary"]) + (" *(open)*" if is_open else "")
                rows.append(f"| `{method.upper()} {path}` | {what} | {takes(item, operation, own, common)} | "
                            f"{answers(operation, own, common)} |")
    return rows


def is_shared(item):
    return item.get("$ref", "").startswith(COMMON)


def errors(services, common):
    rows = ["| answer | what it means |", "| --- | --- |"]
    seen = set()
    for own in [common, *services.values()]:
        for item in own.get("paths", {}).values():
            for method in METHODS:
                for status, node in follow(item, own, common).get(method, {}).get("responses", {}).items():
                    node = follow(node, own, common)
                    if int(status) >= 300:
                        seen.add((status, plain(node["description"])))
    return rows + [f"| {status} | {text} |" for status, text in sorted(seen)]


def made():
    common = read("common")
    services = {name: read(name) for name in SERVICES}
    first = services["hub"]
    out = ["## Every service", "", *table([(p, i) for p, i in first["paths"].items() if is_shared(i)], first, common)]
    for name, own in services.items():
        paths = [(p, i) for p, i in own["paths"].items() if not is_shared(i)]
        port = own["servers"][0]["url"].rsplit(":", 1)[1]
        out += ["", f"## {name}, port {port}", "", plain(own["info"]["summary"]) + f". [`api/{name}.yaml`](../api/{name}.yaml)",
                "", *table(paths, own, common)]
    out += ["", "## Errors", "", *errors(services, common)]
    return "\n".join(out) + "\n"


def main(arguments):
    text = DOCUMENT.read_text()
    whole = text[:text.index(BEGIN)] + BEGIN + "\n\n" + made()
    if arguments == ["--check"]:
        if whole != text:
            print("docs/api.md is out of date: run scripts/api_docs.py", file=sys.stderr)
        return whole != text
    DOCUMENT.write_text(whole)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
