"""An OpenAPI document as a judge: every answer of a running service is held against it.

Contract.call() makes a request and checks the answer: the status is documented for that operation, the
headers that the document names are there, the body has a documented type and fits its schema.  What was
seen is remembered, so that a test can ask what nobody has tried.
"""
import pathlib
import re

import jsonschema
import yaml

import e2e

METHODS = ("get", "put", "post", "patch", "delete")
ALL_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")


class Document:
    """api/<service>.yaml with every reference resolved."""

    def __init__(self, service):
        self.folder = e2e.SOURCE / "api"
        self.files = {}
        self.root = self.file(f"{service}.yaml")
        self.paths = {path: self.resolve(item, f"{service}.yaml") for path, item in self.root["paths"].items()}
        self.security = self.root["security"]

    def file(self, name):
        if name not in self.files:
            self.files[name] = yaml.safe_load((self.folder / name).read_text())
        return self.files[name]

    def resolve(self, node, name, depth=0):
        if depth > 60:
            raise e2e.Failure(f"references in {name} go in a circle")
        if isinstance(node, list):
            return [self.resolve(n, name, depth + 1) for n in node]
        if not isinstance(node, dict):
            return node
        siblings = {k: self.resolve(v, name, depth + 1) for k, v in node.items() if k != "$ref"}
        if "$ref" not in node:
            return siblings
        where, _, pointer = node["$ref"].partition("#")
        where = pathlib.PurePosixPath(where).name or name
        target = self.file(where)
        for part in pointer.strip("/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        target = self.resolve(target, where, depth + 1)
        return {**target, **siblings} if siblings else target

    def operations(self):
        for path, item in self.paths.items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), path, item[method]

    def find(self, method, path):
        """(template, operation) of a request's path, or None."""
        plain = path.split("?")[0]
        for template, item in self.paths.items():
            if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), plain) and method.lower() in item:
                return template, item[method.lower()]
        return None

    def methods(self, template):
        documented = {m.upper() for m in METHODS if m in self.paths[template]}
        return documented | ({"HEAD"} if "GET" in documented else set())

    def is_public(self, operation):
        return operation.get("security", self.security) == []


def fits(value, schema):
    """What is wrong with it; "" for nothing."""
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return "; ".join(f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in validator.iter_errors(value))


class Contract:
    def __init__(self, service):
        self.service = service
        self.document = Document(service.name)
        self.seen = set()

    def expected(self):
        """(method, template, status) of everything that is documented."""
        return {(method, template, status) for method, template, operation in self.document.operations()
                for status in operation["responses"]}

    def request(self, method, path, body=None, **options):
        """Waits while too many wrong tokens came."""
        def ask():
            answer = self.service.api(method, path, body, **options)
            if answer.status == 429:
                if self.document.find(method, path):
                    self.check(method, path, answer)
                return None
            return answer

        return e2e.wait_for(f"{method} {path} not to be throttled", ask)

    def call(self, method, path, body=None, expect=None, **options):
        answer = self.request(method, path, body, **options)
        if expect is not None and answer.status != expect:
            raise e2e.Failure(f"{method} {path}: {answer.status}, expected {expect}: {answer.body[:1000]!r}")
        self.check(method, path, answer)
        return answer

    def check(self, method, path, answer):
        found = self.document.find(method, path)
        if not found:
            raise e2e.Failure(f"{method} {path} is not documented")
        template, operation = found
        where, status = f"{method} {path}: {answer.status}", str(answer.status)
        if status not in operation["responses"]:
            raise e2e.Failure(f"{where} is not documented for {template}: {answer.body[:1000]!r}")
        response = operation["responses"][status]
        for name, header in response.get("headers", {}).items():
            value = answer.headers.get(name)
            if value is None and header.get("required") is False:
                continue
            if value is None and name == "ETag" and "?dryRun" in path:
                continue  # of nothing that is there
            if value is None:
                raise e2e.Failure(f"{where} lacks the header {name}")
            number = header["schema"].get("type") == "integer"
            wrong = fits(int(value) if number else value, header["schema"])
            if wrong:
                raise e2e.Failure(f"{where}: {name}: {wrong}")
        self.check_body(where, response.get("content"), answer)
        self.seen.add((method, template, status))

    def check_body(self, where, content, answer):
        if not content:
            if answer.body:
                raise e2e.Failure(f"{where} has a body that is not documented: {answer.body[:200]!r}")
            return
        type_ = (answer.headers.get("Content-Type") or "").split(";")[0]
        if type_ not in content:
            raise e2e.Failure(f"{where}: type {type_!r} is none of {list(content)}")
        value = answer.json if type_.endswith("json") else answer.body.decode()
        if type_.endswith("yaml"):
            value = yaml.safe_load(value)
        wrong = fits(value, content[type_].get("schema", {}))
        if wrong:
            raise e2e.Failure(f"{where}: {wrong}\n{answer.body[:2000]!r}")
        if type_ == "application/problem+json" and value["status"] != answer.status:
            raise e2e.Failure(f"{where}: the problem says {value['status']}")

    def check_problem(self, answer, status, code, is_head=False):
        """An answer of no operation: no such path, no such method."""
        schema = self.document.resolve({"$ref": "common.yaml#/components/schemas/Problem"}, "common.yaml")
        if answer.status != status or answer.headers.get("Content-Type") != "application/problem+json":
            raise e2e.Failure(f"{answer.status} {answer.headers.get('Content-Type')}, expected {status}: {answer.body[:500]!r}")
        if is_head:
            return
        wrong = fits(answer.json, schema)
        if wrong or answer.json["type"] != f"urn:penstock:problem:{code}" or answer.json["status"] != status:
            raise e2e.Failure(f"{wrong or answer.json}")


# --- metrics

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)')
TYPES = ("counter", "gauge", "histogram")


def parse_metrics(text, is_open=False):
    """family -> (type, {(name, labels): value}); every rule of the text format is checked on the way."""
    families, current = {}, None
    lines = text.split("\n")
    if lines.pop() != "":
        raise e2e.Failure("metrics do not end with a newline")
    if is_open and lines.pop() != "# EOF":
        raise e2e.Failure("OpenMetrics do not end with # EOF")
    helped = None
    for line in lines:
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
        elif line.startswith("# TYPE "):
            _, _, current, type_ = line.split(" ")
            if current != helped or current in families or type_ not in TYPES:
                raise e2e.Failure(f"family out of order: {line}")
            families[current] = (type_, {})
        elif line.startswith("# UNIT "):
            continue
        else:
            match = SAMPLE.fullmatch(line)
            if not match or current is None or not match[1].startswith(current):
                raise e2e.Failure(f"no sample of {current}: {line!r}")
            key = match[1], match[2] or ""
            if key in families[current][1]:
                raise e2e.Failure(f"twice: {line}")
            families[current][1][key] = float(match[3])
    for name, (type_, samples) in families.items():
        check_family(name, type_, samples, is_open)
    return families


def check_family(name, type_, samples, is_open):
    names = {key[0] for key in samples}
    if type_ == "counter":
        allowed = {name + "_total"} if is_open else {name}
        if not (is_open or name.endswith("_total")):
            raise e2e.Failure(f"the counter {name} does not end in _total")
    elif type_ == "histogram":
        allowed = {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        check_histogram(name, samples)
    else:
        allowed = {name}
    if not names <= allowed:
        raise e2e.Failure(f"{name} has samples called {names - allowed}")
    if any(v < 0 for v in samples.values()):
        raise e2e.Failure(f"{name} is negative")


def check_histogram(name, samples):
    """Each set of labels: buckets rise, +Inf is the count."""
    groups = {}
    for (sample, labels), value in samples.items():
        bound = re.search(r'le="([^"]*)"', labels)
        rest = re.sub(r',?le="[^"]*"', "", labels).replace("{,", "{").replace("{}", "")
        groups.setdefault(rest, {})[(sample, bound and bound[1])] = value
    for rest, group in groups.items():
        buckets = sorted((float(b), v) for (s, b), v in group.items() if s == f"{name}_bucket")
        values = [v for _, v in buckets]
        if values != sorted(values) or buckets[-1][0] != float("inf") or values[-1] != group[(f"{name}_count", None)]:
            raise e2e.Failure(f"{name}{rest}: buckets {buckets}")
