"""Which sources a module's results depend on."""

from pathlib import Path

import pytest

from hw import closure
from hw.closure import sources, sources_sha256

ROOT = Path(__file__).parent.parent


def test_a_modules_sources_are_those_it_imports() -> None:
    found = sources("hw.schedule")
    assert found["hw.config"] == ROOT / "hw" / "config.py"
    assert found["hw"] == ROOT / "hw" / "__init__.py"
    assert not any(name.startswith(("synth", "quant", "sim")) for name in found)
    # a module that shares its name with a folder of data
    assert sources("synth.operands")["synth.operands"] == ROOT / "synth" / "operands.py"


def test_imports_within_functions_count_and_what_is_left_out_does_not() -> None:
    assert "quant.milp" in sources("quant.methods")
    whole = sources("quant.bench.search")
    assert {"quant.console", "quant.outcome", "hw.cli.tables"} <= set(whole)
    part = sources("quant.bench.search", but=("quant.console", "hw.cli"))
    assert "quant.outcome" in part, "others import it, too"
    assert "quant.console" not in part
    assert not any(name.startswith("hw.cli") for name in part)


def test_the_hash_is_of_the_contents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {"hw.a": tmp_path / "a.py", "hw.b": tmp_path / "b.py"}
    (tmp_path / "a.py").write_text("def f():\n    from hw import b\n")
    (tmp_path / "b.py").write_text("ONE = 1\n")
    monkeypatch.setattr(closure, "_path", names.get)
    first = sources_sha256.__wrapped__("hw.a")
    assert first == sources_sha256.__wrapped__("hw.a")
    (tmp_path / "b.py").write_text("ONE = 2\n")
    second = sources_sha256.__wrapped__("hw.a")
    assert second != first
    assert sources_sha256.__wrapped__("hw.a", but=("hw.b",)) not in {first, second}
