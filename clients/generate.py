"""Writes the types of both clients from `openapi.json`, and the synchronous Python client from the asynchronous one.

    python3 clients/generate.py            writes
    python3 clients/generate.py --check    fails when a file is not what would be written

`openapi.json` is the committed description of the API. Needs the standard library only.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PYTHON = HERE / "python/src/rehome_client"
NOTE = "Made by clients/generate.py from clients/openapi.json"

# What is different without `async`, in this order.
UNASYNC = [
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bhttpx\.AsyncClient\b", "httpx.Client"),
    (r"\bAsyncBaseTransport\b", "BaseTransport"),
    (r"\bAsyncClient\b", "Client"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAsyncGenerator\[([^\]]+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\baclosing\b", "closing"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baclose\b", "close"),
    (r"\baread\b", "read"),
    (r"\baiter_bytes\b", "iter_bytes"),
    (r"\bimport asyncio\b", "import time"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\basynchronous\b", "synchronous"),
]


def unasync(text: str) -> str:
    for pattern, replacement in UNASYNC:
        text = re.sub(pattern, replacement, text)
    return text


class Types:
    """Schemas in the words of one language."""

    names: dict[str, str]
    null: str

    def __init__(self, schemas: dict[str, Any]) -> None:
        self.schemas = schemas

    def of(self, schema: Any) -> str:
        if not schema or schema is True:
            return self.names["any"]
        if "$ref" in schema:
            return schema["$ref"].rsplit("/", 1)[1]
        if "enum" in schema:
            return self.union([self.literal(value) for value in schema["enum"]])
        if "const" in schema:
            return self.literal(schema["const"])
        for several in ("oneOf", "anyOf"):
            if several in schema:
                return self.union([self.of(one) for one in schema[several]])
        if len(schema.get("allOf", [])) == 1:
            return self.of(schema["allOf"][0])
        kinds = schema.get("type", "any")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        return self.union([self.kind(kind, schema) for kind in kinds])

    def kind(self, kind: str, schema: Any) -> str:
        if kind == "null":
            return self.null
        if kind == "array":
            return self.array(self.of(schema.get("items")))
        if kind == "object":
            values = schema.get("additionalProperties")
            return self.mapping(self.of(values) if isinstance(values, dict) else self.names["any"])
        return self.names[kind]

    def union(self, types: list[str]) -> str:
        unique = [one for one in dict.fromkeys(types) if one != self.null]
        return " | ".join(unique + ([self.null] if self.null in types else []))

    def literal(self, value: Any) -> str:
        raise NotImplementedError

    def array(self, items: str) -> str:
        raise NotImplementedError

    def mapping(self, values: str) -> str:
        raise NotImplementedError


class Python(Types):
    names = {"any": "Any", "string": "str", "integer": "int", "number": "float", "boolean": "bool"}
    null = "None"

    def literal(self, value: Any) -> str:
        return f"Literal[{json.dumps(value)}]"

    def array(self, items: str) -> str:
        return f"list[{items}]"

    def mapping(self, values: str) -> str:
        return f"dict[str, {values}]"


class TypeScript(Types):
    names = {"any": "unknown", "string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
    null = "null"

    def literal(self, value: Any) -> str:
        return json.dumps(value)

    def array(self, items: str) -> str:
        return f"({items})[]" if " " in items else f"{items}[]"

    def mapping(self, values: str) -> str:
        return f"Record<string, {values}>"


def parts(schema: Any) -> tuple[list[str], dict[str, Any], set[str]]:
    """The schemas that an object begins with, its own fields, and those of them that are always there."""
    bases = [one["$ref"].rsplit("/", 1)[1] for one in schema.get("allOf", []) if "$ref" in one]
    fields: dict[str, Any] = {}
    required: set[str] = set()
    for one in [schema, *schema.get("allOf", [])]:
        fields |= one.get("properties", {})
        required |= set(one.get("required", []))
    return bases, fields, required


def is_object(schema: Any) -> bool:
    return "properties" in schema or len(schema.get("allOf", [])) > 1


def words(schema: Any) -> str:
    return " ".join(str(schema.get("description", "")).split())


def python_models(document: Any) -> str:
    schemas = document["components"]["schemas"]
    types = Python(schemas)
    lines = [f'"""The documents of the API. {NOTE}: change nothing here."""', ""]
    lines += ["from __future__ import annotations", ""]
    lines += ["from typing import Any, Literal, NotRequired, TypeAlias, TypedDict", ""]
    lines += [f'API_VERSION = "{document["info"]["version"]}"', ""]
    for name, schema in sorted(schemas.items(), key=lambda item: (bool(parts(item[1])[0]), item[0])):
        if not is_object(schema):
            lines += [f"{name}: TypeAlias = {types.of(schema)!r}" if refers(schema) else f"{name} = {types.of(schema)}"]
            lines += [f'"""{words(schema)}"""', ""] if words(schema) else [""]
            continue
        bases, fields, required = parts(schema)
        said = {key: types.of(value) for key, value in fields.items()}
        said = {key: value if key in required else f"NotRequired[{value}]" for key, value in said.items()}
        if any(keyword.iskeyword(key) for key in fields):
            lines += ["", f"{name} = TypedDict(", f'    "{name}",', "    {"]
            lines += [f'        "{key}": "{value}",' for key, value in said.items()]
            lines += ["    },", ")", *([f'"""{words(schema)}"""'] if words(schema) else []), ""]
            continue
        lines += ["", f"class {name}({', '.join(bases) or 'TypedDict'}):"]
        lines += python_words(words(schema))
        for key, value in said.items():
            lines += [f"    {key}: {value}", *python_words(words(fields[key]))]
        lines += ["    pass"] if not said and not words(schema) else []
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def refers(schema: Any) -> bool:
    return "$ref" in json.dumps(schema)


def python_words(text: str) -> list[str]:
    text = text.replace("\\", "\\\\")
    if len(text) <= 100:
        return [f'    """{text}"""'] if text else []
    wrapped = textwrap.wrap(text, 110)
    return [f'    """{wrapped[0]}', *[f"    {line}" for line in wrapped[1:]], '    """']


def typescript_models(document: Any) -> str:
    schemas = document["components"]["schemas"]
    types = TypeScript(schemas)
    lines = [f"// The documents of the API. {NOTE}: change nothing here.", ""]
    lines += [f'export const API_VERSION = "{document["info"]["version"]}";', ""]
    for name, schema in sorted(schemas.items()):
        lines += typescript_words(words(schema), "")
        if not is_object(schema):
            lines += [f"export type {name} = {types.of(schema)};", ""]
            continue
        bases, fields, required = parts(schema)
        extends = f" extends {', '.join(bases)}" if bases else ""
        lines += [f"export interface {name}{extends} {{"]
        for key, value in fields.items():
            lines += typescript_words(words(value), "  ")
            lines += [f"  {key}{'' if key in required else '?'}: {types.of(value)};"]
        lines += ["}", ""]
    return "\n".join(lines).rstrip() + "\n"


def typescript_words(text: str, indent: str) -> list[str]:
    if not text:
        return []
    wrapped = textwrap.wrap(text.replace("*/", "* /"), 110)
    if len(wrapped) == 1:
        return [f"{indent}/** {text} */"]
    return [f"{indent}/**", *[f"{indent} * {line}" for line in wrapped], f"{indent} */"]


def made() -> dict[Path, str]:
    document = json.loads((HERE / "openapi.json").read_text())
    files = {
        PYTHON / "models.py": python_models(document),
        HERE / "typescript/src/models.ts": typescript_models(document),
    }
    for source in sorted((PYTHON / "_async").glob("*.py")):
        text = unasync(source.read_text())
        files[PYTHON / "_sync" / source.name] = f"# Made by clients/generate.py from _async/{source.name}.\n{text}"
    return files


def main() -> int:
    stale = []
    for path, text in made().items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in stale:
        print(("not up to date: " if "--check" in sys.argv else "written: ") + str(path.relative_to(HERE)))
    if stale and "--check" in sys.argv:
        print("python3 clients/generate.py writes them")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
