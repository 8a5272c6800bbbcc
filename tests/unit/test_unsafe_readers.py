"""No reader that executes what it reads is used anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ntrader

EXECUTING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
METHODS = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "load_all"}


def uses(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from EXECUTING & {name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(module=str(module)):
                yield from EXECUTING & {module.partition(".")[0]}
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                yield name
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                yield "allow_pickle"
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="yaml"), attr="load"),
                args=[_, ast.Name(id=loader)],
            ) if loader != "_StrictLoader":
                yield f"yaml.load with {loader}"


def test_nothing_reads_pickles_or_yaml_that_makes_objects() -> None:
    package = Path(ntrader.__file__).parent
    found = {
        str(file.relative_to(package)): sorted(uses(ast.parse(file.read_text())))
        for file in package.rglob("*.py")
    }
    assert len(found) > 50
    assert {file: names for file, names in found.items() if names} == {}
